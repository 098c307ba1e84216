"""Whether what the other dashboards show is all there is: agents that are up, events lost, bounds reached, and what agents cost."""

from panels import WHO, bars, increase, lines, or_zero, rate, row, selector, stat, table, total

UID = "tlsight-agent-health"
TITLE = "tlsight / Agent health"
DESCRIPTION = "Whether the other dashboards show all there is: agents that are up, events lost, bounds reached, and what agents cost."

ROWS = (
    row(
        "Now",
        stat("Agents up", "Agents that answered Prometheus when it last asked.", "short", f"sum({selector('up')})",
             ((None, "dark-red"), (1, "green"))),
        stat("Agents down", "Agents that did not answer Prometheus when it last asked.", "short",
             or_zero(f"count({selector('up')} == 0)"), ((None, "green"), (1, "dark-red"))),
        stat("Events lost", "Events lost in each minute: what they would have told is not known.", "short",
             "60 * " + total(rate("tlsight_events_lost_total")), ((None, "green"), (0.001, "dark-red")), calc="max", decimals=0),
        stat("Bounds reached", "How often in each minute something was left out, cut or forgotten to keep a bound.", "short",
             "60 * " + total(rate("tlsight_dropped_total")), ((None, "text"),), calc="max", decimals=0),
        stat("Configuration not read", "Agents whose configuration had an error when it was last read; they go on with the one before.",
             "short", or_zero(f"count({selector('tlsight_config_last_reload_successful')} == 0)"), ((None, "green"), (1, "dark-orange"))),
        stat("Connections followed", "Connection ends that are followed now.", "short", total(selector("tlsight_connections_open"))),
    ),
    row(
        "What is missing",
        lines("Events lost", "Events lost by place, in each step of the time shown. At all others, 0.", "short",
              (total(increase("tlsight_events_lost_total"), "place"), "{{place}}")),
        lines("Bounds reached", "What was left out, cut or forgotten to keep a bound, in each step of the time shown; the twenty largest.",
              "short", (f"topk(20, {total(increase('tlsight_dropped_total'), 'what')})", "{{what}}")),
        lines("Queues", "How full the queues between threads of the agents are; what comes on top of a full one is dropped.",
              "percentunit",
              (f"max by (queue) ({selector('tlsight_queue_length')} / {selector('tlsight_queue_capacity')})", "{{queue}}"), maximum=1),
        lines("Samples over the bounds of metrics",
              "Samples that went to a series called other because a metric had its most series, or a label its most values.", "short",
              (total(increase("tlsight_metric_series_limited_total"), "metric"), "{{metric}}")),
    ),
    row(
        "What is attached",
        lines("Probes", "Places in the kernel and in TLS libraries where a program of an agent is attached.", "short",
              (total(selector("tlsight_probes_attached"), "kind"), "{{kind}}"), width=8),
        lines("Connections followed", "Connection ends that are followed, by agent.", "short",
              (total(selector("tlsight_connections_open"), "instance"), "{{instance}}"), width=8),
        bars("Series", "Series of each metric, of the agent that has most of it.", "short",
             (f"max by (metric) ({selector('tlsight_metric_series')})", "{{metric}}"), calc="lastNotNull", width=8),
    ),
    row(
        "What it costs",
        lines("CPU", "Processor time of each agent, in cores.", "none",
              (total(rate("process_cpu_seconds_total"), "instance"), "{{instance}}"), width=8),
        lines("Memory", "Resident memory of each agent.", "bytes",
              (total(selector("process_resident_memory_bytes"), "instance"), "{{instance}}"), width=8),
        lines("Open files", "File descriptors of each agent, as share of its most: probes and connections to the API take some.",
              "percentunit",
              (f"max by (instance) ({selector('process_open_fds')} / {selector('process_max_fds')})", "{{instance}}"), width=8),
        lines("Threads", "Threads of each agent.", "short", (total(selector("process_threads"), "instance"), "{{instance}}"), width=8),
        lines("Time of a scrape", "How long Prometheus takes to fetch an agent's metrics.", "s",
              (total(selector("scrape_duration_seconds"), "instance"), "{{instance}}"), width=8),
        lines("Uptime", "Time since each agent was started.", "s",
              (f"time() - max by (instance) ({selector('process_start_time_seconds')})", "{{instance}}"), width=8),
    ),
    row(
        "What it does",
        lines("What agents count", "The twenty fastest of all other counters of the agents; docs/metrics.md says what they are.", "cps",
              (f"topk(20, {total(rate('tlsight_agent_events_total'), 'name')})", "{{name}}")),
        table("Agents", "Agents and their versions. A version that only some have is a rollout that is not over.", "short",
              f"max by (job, instance, version, rust_version) (tlsight_build_info{{{WHO}}})",
              {"job": "Job", "instance": "Instance", "version": "Version", "rust_version": "Oldest compiler"}, "Agents", width=12,
              height=8, instant=True),
    ),
)
