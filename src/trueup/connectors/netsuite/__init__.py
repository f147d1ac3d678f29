"""NetSuite, an ERP: customers, projects, invoices, credits, payments and journals, over SuiteTalk REST and SuiteQL."""
