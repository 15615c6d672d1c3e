"""What was used and what is to be paid: usage, invoices, their replay, and the comparison of all that counts money."""
