// What every daemon tells of itself. Each of these carries the label `daemon`.

extension MetricFamily {
    /// Numbers that `postern metrics` makes itself, of daemons that it asks.
    public static let up = "postern_up"
    public static let build = "postern_build_info"
    public static let unknownReadings = "postern_metrics_unknown_readings"

    static let shared: [MetricFamily] = {
        let all = Maker(daemon: nil)
        return [
            all.gauge(up, "Whether the daemon runs and has answered."),
            all.info(build, "The release of the daemon that runs.", "version"),
            all.gauge(unknownReadings, "Numbers of the daemon that this page does not know: it is of another release."),
            all.gauge("postern_uptime_seconds", "Time since the daemon's start."),
            all.gauge("postern_process_start_time_seconds", "When the daemon started, since 1970."),
            all.counter("postern_process_cpu_seconds_total", "Processor time, user and system."),
            all.gauge("postern_process_resident_octets", "Memory that is in RAM."),
            all.gauge("postern_process_open_fds", "Open descriptors: files and sockets."),
            all.gauge("postern_process_max_fds", "Most open descriptors that the daemon may have."),
            all.gauge("postern_process_threads", "Threads."),
            all.gauge("postern_open_transactions", "Messages or requests under way."),
            all.gauge(
                "postern_configuration_generation",
                "Counts from 1 at the start, one more with each reload that was taken."),
            all.gauge(
                "postern_configuration_loaded_timestamp_seconds",
                "When the configuration in force was read, since 1970."),
            all.gauge("postern_configuration_refused", "Whether the last reload was refused and changed nothing."),
            all.counter(
                "postern_log_messages_total", "Warnings and errors; those that were not written again too.", "level",
                ["warning", "error", "critical"]),
            all.gauge(
                "postern_store_working", "Whether the daemon can read and write its file; mail goes on without.",
                "store", ["greylist", "facts", "limits", "snapshot"]),
            all.gauge(
                "postern_store_octets", "Size of the file, and of what belongs to it.", "store",
                ["greylist", "facts", "limits", "snapshot"]),
            all.gauge(
                "postern_store_saved_timestamp_seconds",
                "When all that is to be kept was last on the disk, since 1970.", "store", ["limits", "snapshot"]),
            all.gauge(
                "postern_shared_store_working",
                "Whether the store of [store] works; while it does not, this host decides by itself."),
            all.gauge("postern_shared_store_connections", "Connections to it, idle ones too."),
            all.counter("postern_shared_store_round_trips_total", "What it was asked and has answered."),
            all.counter(
                "postern_shared_store_failures_total",
                "What it has not, by the reason; resting: not asked, since it had failed before.", "kind",
                ["timeout", "unreachable", "malformed", "refused", "resting"]),
            all.counter("postern_shared_store_outages_total", "How often it stopped to work."),
            all.counter("postern_shared_store_failed_tries_total", "Tries meanwhile that failed."),
            all.counter(
                "postern_shared_store_local_decisions_total", "Decisions that this host made by itself meanwhile."),
            all.gauge(
                "postern_shared_store_waiting",
                "What this host has decided by itself and the store is to be told of yet: entries of greylisting, keys "
                    + "of limits.", "ledger", ["greylist", "limits"]),
            all.histogram("postern_shared_store_round_trip_seconds", "Time that it took to answer."),
            all.counter(
                "postern_shared_greylist_entries_total",
                "Entries that this host's own greylist and the shared one told each other: learnt from it, dropped "
                    + "before, merged into it, or not since they were too many; restored after it lost them.",
                "fate", ["learnt", "dropped", "merged", "unmerged", "restored"]),
        ]
    }()
}
