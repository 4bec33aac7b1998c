"""The result of the data contract as one page: no script, nothing loaded from elsewhere, no time of day in it."""

from ilm.data.contract import Outcome

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Data contract: {{ "passed" if not failed else "broken" }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem; }
th, td { text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid #ddd; }
.passed { color: #1a7f37; } .failed { color: #b3261e; font-weight: 600; }
</style>
</head>
<body>
<h1 class="{{ "failed" if failed else "passed" }}">Data contract: {{ "broken" if failed else "passed" }}</h1>
<p>{{ outcomes | length }} expectations, {{ failed }} failed.
{% if failed %}The pipeline has stopped here: nothing after this step has seen these data.{% endif %}</p>
{% for table, group in outcomes | groupby("table", case_sensitive=True) %}
<h2>{{ table }}</h2>
<table>
<tr><th>Expected</th><th>Found</th><th>Result</th></tr>
{% for outcome in group %}
<tr><td>{{ outcome.expected }}</td><td>{{ outcome.observed }}</td>
<td class="{{ "passed" if outcome.passed else "failed" }}">{{ "passed" if outcome.passed else "FAILED" }}</td></tr>
{% endfor %}
</table>
{% endfor %}
</body>
</html>
"""


def render(outcomes: list[Outcome]) -> str:
    """HTML; what comes from the data is escaped."""
    from jinja2 import Environment

    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_PAGE)
    return page.render(outcomes=outcomes, failed=sum(not outcome.passed for outcome in outcomes)) + "\n"
