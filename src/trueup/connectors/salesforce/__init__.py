"""Salesforce: accounts, opportunities with their lines, negotiated rates and milestones; project state goes back."""
