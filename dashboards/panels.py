"""What dashboards are made of: panels, variables and links as Grafana's classic JSON writes them, and where panels stand."""

SCHEMA_VERSION = 42
GRID_WIDTH = 24

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# In every selector, so that one dashboard serves one agent, one cluster or all of them.
WHO = 'job=~"$job", instance=~"$instance"'

# One colour for one thing, on every dashboard.
SECURITY = {"plaintext": "red", "tls": "blue", "mtls": "green", "unknown": "#8e8e8e"}
SEVERITY = {"critical": "dark-red", "warning": "dark-orange", "information": "dark-blue"}
COLORS = SECURITY | SEVERITY


def selector(metric, *matchers):
    """The metric of the agents that were chosen."""
    return f"{metric}{{{', '.join((WHO, *matchers))}}}"


def rate(metric, *matchers):
    return f"rate({selector(metric, *matchers)}[$__rate_interval])"


def increase(metric, *matchers):
    return f"increase({selector(metric, *matchers)}[$__rate_interval])"


def total(expression, *by):
    """The sum, by labels where some are named."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def or_zero(expression):
    """Nothing of the kind was seen: that is 0 and not "no data"."""
    return f"({expression} or vector(0))"


def share(part, whole):
    """0 where there is no part; nothing where there is no whole."""
    return f"{or_zero(part)} / ({whole} > 0)"


def _target(index, query, table=False, instant=False):
    expression, legend = query if isinstance(query, tuple) else (query, "")
    target = {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expression,
        "instant": instant,
        "legendFormat": legend or "__auto",
        "range": not instant,
        "refId": chr(ord("A") + index),
    }
    if table:
        target["format"] = "table" if instant else "time_series"
    return target


def _overrides(colors):
    return [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": color}}],
        }
        for name, color in colors.items()
    ]


def _steps(steps):
    """Thresholds from `[(None, "green"), (1, "red")]`."""
    return {"mode": "absolute", "steps": [{"color": color, "value": value} for value, color in steps]}


def _panel(kind, title, description, unit, queries, width, height, defaults=None, options=None, overrides=None,
           table=False, instant=False):
    queries = queries if isinstance(queries, list) else [queries]
    return {
        "datasource": DATASOURCE,
        "description": description,
        "fieldConfig": {"defaults": {"unit": unit, **(defaults or {})}, "overrides": overrides or []},
        "gridPos": {"w": width, "h": height},
        "options": options or {},
        "targets": [_target(index, query, table, instant) for index, query in enumerate(queries)],
        "title": title,
        "type": kind,
    }


def stat(title, description, unit, query, steps=((None, "text"),), width=4, calc="lastNotNull", decimals=None):
    """One number. `calc` says which of the values over the time that is shown."""
    defaults = {"color": {"mode": "thresholds"}, "thresholds": _steps(steps)}
    if decimals is not None:
        defaults["decimals"] = decimals
    options = {
        "colorMode": "value",
        "graphMode": "area",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": [calc], "fields": "", "values": False},
        "textMode": "auto",
    }
    return _panel("stat", title, description, unit, query, width, 4, defaults, options)


def lines(title, description, unit, queries, width=12, height=8, stack=None, colors=COLORS, minimum=0, maximum=None):
    """Lines over time; `stack` is `normal` or `percent`."""
    custom = {
        "drawStyle": "line",
        "fillOpacity": 60 if stack else 10,
        "lineWidth": 1,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": stack or "none"},
    }
    defaults = {"color": {"mode": "palette-classic"}, "custom": custom}
    defaults.update({key: value for key, value in (("min", minimum), ("max", maximum)) if value is not None})
    options = {
        "legend": {"calcs": ["mean", "lastNotNull"], "displayMode": "table", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return _panel("timeseries", title, description, unit, queries, width, height, defaults, options, _overrides(colors))


def bars(title, description, unit, queries, width=8, height=8, calc="mean", colors=COLORS, steps=((None, "blue"),),
         instant=False):
    """A bar for each series."""
    defaults = {"color": {"mode": "thresholds"}, "min": 0, "thresholds": _steps(steps)}
    options = {
        "displayMode": "gradient",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": [calc], "fields": "", "values": False},
        "showUnfilled": True,
        "valueMode": "color",
    }
    return _panel("bargauge", title, description, unit, queries, width, height, defaults, options, _overrides(colors),
                  instant=instant)


def pie(title, description, unit, query, width=8, height=8, calc="mean", colors=COLORS):
    """Shares of a whole."""
    options = {
        "displayLabels": ["percent"],
        "legend": {"displayMode": "table", "placement": "right", "showLegend": True, "values": ["percent", "value"]},
        "pieType": "donut",
        "reduceOptions": {"calcs": [calc], "fields": "", "values": False},
        "tooltip": {"mode": "single", "sort": "desc"},
    }
    return _panel("piechart", title, description, unit, query, width, height, {"color": {"mode": "palette-classic"}},
                  options, _overrides(colors))


def _named_columns(columns):
    return {"id": "organize", "options": {
        "excludeByName": {"Time": True, "Field": True},
        "indexByName": {name: index for index, name in enumerate(columns)},
        "renameByName": {name: title for name, title in columns.items() if title},
    }}


def _colored_cells():
    """Words that have a colour on the other panels have it in tables too."""
    options = {name: {"color": color, "index": index} for index, (name, color) in enumerate(COLORS.items())}
    mapping = [{"id": "mappings", "value": [{"type": "value", "options": options}]},
               {"id": "custom.cellOptions", "value": {"type": "color-text"}}]
    return [{"matcher": {"id": "byName", "options": name}, "properties": mapping}
            for name in ("Observed", "Severity")]


def table(title, description, unit, query, columns, value, width=24, height=9, instant=False, descending=True,
          steps=None, link=None):
    """A row for each series: labels as `columns` (`{label: heading}`), and its value under the heading `value`. A range query
    comes to its mean over the time that is shown. `link` is a column and where it leads."""
    number = "Value" if instant else "Mean"
    overrides = _colored_cells()
    if steps:
        overrides.append({
            "matcher": {"id": "byName", "options": value},
            "properties": [{"id": "custom.cellOptions", "value": {"type": "color-text"}},
                           {"id": "thresholds", "value": _steps(steps)},
                           {"id": "color", "value": {"mode": "thresholds"}}],
        })
    if link:
        column, text, url = link
        overrides.append({
            "matcher": {"id": "byName", "options": column},
            "properties": [{"id": "links", "value": [{"title": text, "url": url}]}],
        })
    transformations = [_named_columns({**columns, number: value})]
    if not instant:
        reduce = {"labelsToFields": True, "mode": "seriesToRows", "reducers": ["mean"]}
        transformations.insert(0, {"id": "reduce", "options": reduce})
    options = {"cellHeight": "sm", "showHeader": True, "sortBy": [{"desc": descending, "displayName": value}]}
    defaults = {"custom": {"align": "auto", "filterable": True}}
    panel = _panel("table", title, description, unit, query, width, height, defaults, options, overrides, True, instant)
    panel["transformations"] = transformations
    return panel


def heatmap(title, description, unit, query, width=12, height=8):
    """Buckets of a histogram over time."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"exponent": 0.5, "mode": "scheme", "scheme": "Blues", "steps": 64},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "unit": unit},
    }
    panel = _panel("heatmap", title, description, unit, query, width, height, None, options)
    for target in panel["targets"]:
        target["format"] = "heatmap"
        target["legendFormat"] = "{{le}}"
    return panel


def row(title, *panels):
    """A heading and what stands below it, as many side by side as fit."""
    return title, panels


def _placed(rows):
    y, number, placed = 0, 1, []
    for title, panels in rows:
        placed.append({"collapsed": False, "gridPos": {"x": 0, "y": y, "w": GRID_WIDTH, "h": 1}, "id": number,
                       "panels": [], "title": title, "type": "row"})
        y, number, x, tallest = y + 1, number + 1, 0, 0
        for panel in panels:
            size = panel["gridPos"]
            if x + size["w"] > GRID_WIDTH:
                x, y, tallest = 0, y + tallest, 0
            placed.append({**panel, "gridPos": {"x": x, "y": y, "w": size["w"], "h": size["h"]}, "id": number})
            x, number, tallest = x + size["w"], number + 1, max(tallest, size["h"])
        y += tallest
    return placed


def _variable(name, label, query):
    return {
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "datasource": DATASOURCE,
        "definition": query,
        "hide": 0,
        "includeAll": True,
        "label": label,
        "multi": True,
        "name": name,
        "options": [],
        "query": {"qryType": 1, "query": query, "refId": f"variable-{name}"},
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "type": "query",
    }


VARIABLES = [
    {
        "current": {},
        "hide": 0,
        "includeAll": False,
        "label": "Data source",
        "multi": False,
        "name": "datasource",
        "options": [],
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "type": "datasource",
    },
    _variable("job", "Job", "label_values(tlsight_build_info, job)"),
    _variable("instance", "Instance", 'label_values(tlsight_build_info{job=~"$job"}, instance)'),
]


def address(uid):
    """Where a dashboard is, with the choice of agents and time taken along."""
    return f"/d/{uid}?${{__url_time_range}}&${{datasource:queryparam}}&${{job:queryparam}}&${{instance:queryparam}}"


def link(title, uid):
    return {
        "asDropdown": False,
        "icon": "dashboard",
        "includeVars": True,
        "keepTime": True,
        "tags": [],
        "targetBlank": False,
        "title": title,
        "tooltip": "",
        "type": "link",
        "url": f"/d/{uid}",
    }


def dashboard(uid, title, description, links, *rows):
    return {
        "annotations": {"list": []},
        "description": description,
        "editable": False,
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,
        "id": None,
        "links": links,
        "panels": _placed(rows),
        "preload": False,
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["tlsight"],
        "templating": {"list": VARIABLES},
        "time": {"from": "now-6h", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "title": title,
        "uid": uid,
        "version": 1,
    }
