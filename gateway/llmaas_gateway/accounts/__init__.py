"""Who may use the service and how much: tiers, tenants, their credit and their budgets."""
