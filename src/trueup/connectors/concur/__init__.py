"""SAP Concur: approved expense reports in, posting confirmations out (Financial Integration Service v4)."""
