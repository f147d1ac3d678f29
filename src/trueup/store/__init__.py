"""PostgreSQL: the only place that speaks SQL, besides the questions of reporting."""
