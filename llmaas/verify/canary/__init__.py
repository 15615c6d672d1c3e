"""The canary: a marker goes through every endpoint and failure, then it is searched for wherever text can stay."""
