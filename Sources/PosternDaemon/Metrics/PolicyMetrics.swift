// What postern-policy and postern-rate tell. Both have the same door, whose metrics differ by the daemon's name.

extension MetricFamily {
    static let policy: [MetricFamily] = {
        let policy = Maker(daemon: "postern-policy")
        return door(policy, "policy") + [
            policy.counter(
                "postern_policy_decisions_total", "Judged requests, by who has decided; none where nobody objected.",
                "check", ["rule", "dnsbl", "greylist", "none"], inLog: .one),
            policy.counter(
                "postern_policy_rule_decisions_total", "Judged requests that a rule has decided, by its name.", "rule",
                inLog: .one),
            policy.counter(
                "postern_policy_shadow_total", "What shadows would have done.", "action", ["reject", "defer", "other"],
                inLog: .several),
            policy.counter(
                "postern_policy_list_answers_total", "What DNS lists said; each list of a message once.", "outcome",
                ["listed", "not_listed", "unanswered", "suspended"], inLog: .several),
            policy.counter(
                "postern_policy_list_changes_total", "DNS lists that fell ill, and that came back.", "change",
                ["suspended", "returned"]),
            policy.counter(
                "postern_policy_greylist_total", "Greylisted requests, by the outcome.", "outcome", ["defer", "pass"],
                inLog: .one),
            policy.counter(
                "postern_policy_spf_total", "Messages whose SPF was asked for, by what it says.", "result", spfResults,
                inLog: .one),
            policy.gauge(
                "postern_policy_greylist_entries", "What greylisting remembers.", "kind",
                ["waiting", "passed", "clients", "domains"]),
            policy.gauge(
                "postern_policy_dnsbl_working",
                "Whether the list is asked: 0 while it is suspended, or not proved after a start.", "list"),
            policy.counter("postern_policy_dnsbl_answers_total", "Answers of the list.", "list"),
            policy.counter(
                "postern_policy_dnsbl_listings_total", "Answers of the list that count.", "list", inLog: .several),
            policy.counter("postern_policy_dnsbl_failures_total", "Questions that the list did not answer.", "list"),
            policy.counter("postern_policy_dnsbl_suspensions_total", "How often the list was suspended.", "list"),
            policy.histogram("postern_policy_dns_wait_seconds", "Time that a request waited for a batch of questions."),
        ]
    }()

    static let rate: [MetricFamily] = {
        let rate = Maker(daemon: "postern-rate")
        return door(rate, "rate") + [
            rate.counter(
                "postern_rate_over_total", "Limits that requests went over; a shadow only tells.", "mode",
                ["live", "shadow"], inLog: .several),
            rate.counter(
                "postern_rate_limit_over_total", "Requests over a limit, by its name; a shadow's too.", "limit",
                inLog: .several),
            rate.counter("postern_rate_withheld_total", "What the suite in shadow would have answered.", inLog: .one),
            rate.counter(
                "postern_rate_events_total", "Keys that came to their limit, or near it; each once in a span of time.",
                "kind", ["over", "nearing"], inLog: .several),
            rate.counter(
                "postern_rate_followers_dropped_total", "Followers of events that were let go since they did not read."),
            rate.counter(
                "postern_rate_not_applied_total", "Limits that did not apply to a request.", "reason",
                ["missing_attribute", "no_room"], inLog: .several),
            rate.counter(
                "postern_rate_unavailable_total", "Requests that the ledger could not decide; mail passes.", inLog: .one
            ),
            rate.gauge("postern_rate_keys", "Keys that limits count."),
            rate.gauge("postern_rate_messages_remembered", "Messages whose reservations may be given back."),
            rate.counter("postern_rate_evicted_total", "Keys that were forgotten for want of room."),
        ]
    }()

    private static func door(_ maker: Maker, _ daemon: String) -> [MetricFamily] {
        [
            maker.counter(
                "postern_\(daemon)_answers_total", "Judged requests, by the answer to Postfix.", "action", answers,
                inLog: .one),
            maker.counter(
                "postern_\(daemon)_records_total", "Requests that were to be recorded (policy.record).", "outcome",
                ["written", "dropped"]),
            maker.gauge("postern_\(daemon)_records_octets", "Size of the files of recorded requests."),
            maker.counter(
                "postern_\(daemon)_repeats_total", "Requests that were told the answer to an earlier, equal one."),
            maker.counter(
                "postern_\(daemon)_overloaded_total",
                "Requests answered DUNNO unjudged since too many were under way."),
            maker.counter(
                "postern_\(daemon)_unanswered_total", "Repeats answered DUNNO since the first took too long."),
            maker.counter("postern_\(daemon)_connections_total", "Connections of Postfix."),
            maker.counter(
                "postern_\(daemon)_refused_connections_total", "Connections closed at once since too many were open."),
            maker.counter(
                "postern_\(daemon)_faulty_requests_total", "Requests that were none, by what was wrong.", "reason",
                ["malformed", "slow", "broken"]),
            maker.counter(
                "postern_\(daemon)_unspeakable_answers_total", "Answers that Postfix has no words for; told DUNNO."),
            maker.histogram(
                "postern_\(daemon)_decision_seconds", "Time from a request that was read to the answer to it."),
        ]
    }
}
