"""What preview refuses before anything moves: the plan, the promises, the prices, and the policies on every object."""
