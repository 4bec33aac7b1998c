"""The result of the data contract as one page: no script, nothing loaded from elsewhere, no time of day in it."""

from ilm.data.checks import Outcome

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
.warning { color: #8a5a00; font-weight: 600; }
</style>
</head>
<body>
<h1 class="{{ "failed" if failed else "passed" }}">Data contract: {{ "broken" if failed else "passed" }}</h1>
<p>{{ outcomes | length }} expectations, {{ failed }} failed{{ ", %d only warn" % warnings if warnings }}.
{% if failed %}The pipeline has stopped here: nothing after this step has seen these data.{% endif %}</p>
{% for table, group in outcomes | groupby("table", case_sensitive=True) %}
<h2>{{ table }}</h2>
<table>
<tr><th>Expected</th><th>Found</th><th>Result</th></tr>
{% for outcome in group %}
<tr><td>{{ outcome.expected }}</td><td>{{ outcome.observed }}</td>
{% if outcome.passed %}<td class="passed">passed</td>
{% elif outcome.stops %}<td class="failed">FAILED</td>
{% else %}<td class="warning">warning</td>
{% endif %}</tr>
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
    failed = sum(outcome.stops for outcome in outcomes)
    warnings = sum(not outcome.passed for outcome in outcomes) - failed
    return page.render(outcomes=outcomes, failed=failed, warnings=warnings) + "\n"
