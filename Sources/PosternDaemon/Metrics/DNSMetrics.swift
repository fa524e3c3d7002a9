// What postern-dns tells.

extension MetricFamily {
    static let dns: [MetricFamily] = {
        let dns = Maker(daemon: "postern-dns")
        // Users of other names are told as others.
        let clients = [
            "postern-dkim", "postern-dmarc", "postern-policy", "postern-rate", "postern-dns", "root", "tcp", "udp",
            "control", "others",
        ]
        return [
            dns.counter("postern_dns_questions_total", "Questions of clients."),
            dns.counter(
                "postern_dns_answers_total", "Questions, by where their answers came from.", "source",
                ["static", "cache", "upstream", "joined", "turned_away"]),
            dns.counter("postern_dns_stale_answers_total", "Answers that were no longer fresh."),
            dns.counter("postern_dns_cut_answers_total", "NXDOMAIN since a name above does not exist."),
            dns.counter("postern_dns_failure_answers_total", "SERVFAIL since upstreams failed a moment ago."),
            dns.counter("postern_dns_over_rate_total", "Questions turned away since their zone had its share."),
            dns.counter("postern_dns_prefetches_total", "Questions asked anew before their answers were over."),
            dns.counter("postern_dns_upstream_probes_total", "Queries to upstreams that were silent."),
            dns.counter("postern_dns_refused_messages_total", "Messages of clients that were no usable query."),
            dns.counter("postern_dns_upstream_queries_total", "Queries to upstreams."),
            dns.counter("postern_dns_upstream_stream_queries_total", "Queries to upstreams over TCP."),
            dns.counter("postern_dns_upstream_failures_total", "Queries that ended without an answer of use."),
            dns.counter("postern_dns_ignored_replies_total", "Messages from upstreams that were no reply of ours."),
            dns.counter("postern_dns_cookie_mismatches_total", "Replies with another cookie than ours, or none."),
            dns.counter("postern_dns_upstream_connections_total", "TCP connections to upstreams."),
            dns.counter("postern_dns_bogus_answers_total", "SERVFAIL since an upstream found the answer bogus."),
            dns.counter("postern_dns_given_up_total", "SERVFAIL since no upstream had an answer."),
            dns.counter("postern_dns_stalled_connections_total", "Connections of clients that did not read."),
            dns.counter("postern_dns_evictions_total", "Answers that were dropped for want of room."),
            dns.gauge("postern_dns_cached_answers", "Answers in the cache."),
            dns.gauge("postern_dns_cached_octets", "Size of the cache."),
            dns.counter("postern_dns_zone_questions_total", "Questions, by zone.", "zone"),
            dns.counter("postern_dns_zone_cached_total", "Questions that the cache answered, by zone.", "zone"),
            dns.counter("postern_dns_zone_stale_total", "Stale answers, by zone.", "zone"),
            dns.counter("postern_dns_zone_failed_total", "Questions answered SERVFAIL, by zone.", "zone"),
            dns.counter("postern_dns_client_questions_total", "Questions, by client.", "client", clients),
            dns.counter(
                "postern_dns_client_cached_total", "Questions that the cache answered, by client.", "client", clients),
            dns.counter("postern_dns_client_stale_total", "Stale answers, by client.", "client", clients),
            dns.counter(
                "postern_dns_client_failed_total", "Questions answered SERVFAIL, by client.", "client", clients),
            dns.counter("postern_dns_upstream_tries_total", "Queries, by upstream.", "upstream"),
            dns.counter(
                "postern_dns_upstream_failed_tries_total", "Queries without an answer of use, by upstream.", "upstream"),
            dns.gauge(
                "postern_dns_upstream_round_trip_seconds", "Time to a reply, smoothed; 0 before the first.", "upstream"),
            dns.gauge(
                "postern_dns_upstream_working", "Whether the upstream is asked; 0: it is silent, and probed.",
                "upstream"),
            dns.histogram(
                "postern_dns_lookup_seconds", "Time to an answer, of questions that upstreams were asked for."),
        ]
    }()
}
