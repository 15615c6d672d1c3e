"""What an auditor is given: requirements, the checks that prove them, and how they ended; signed, verified anywhere."""
