"""Platform to plain data for each reader: configuration files, certificates, flows. Pure functions, no I/O."""
