"""Reports: records joined with claims, written as markdown, CSV, LaTeX, HTML and figures."""
