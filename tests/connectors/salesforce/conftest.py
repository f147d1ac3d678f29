from salesforce_org import org  # noqa: F401
