"""Words every room shares, none of them business: money, ids, periods, errors, problems."""
