// What postern-dkim and postern-dmarc tell.

extension MetricFamily {
    static let dkim: [MetricFamily] = {
        let dkim = Maker(daemon: "postern-dkim")
        return [
            dkim.counter(
                "postern_dkim_messages_total", "Messages, by what became of them; each once.", "verdict",
                ["signed", "verified", "passed", "refused", "deferred"], inLog: .one),
            dkim.counter(
                "postern_dkim_passed_total", "Messages that passed as they were, by the reason.", "reason",
                ["relay", "passthrough", "reinjected", "no_key", "verify_off"], inLog: .one),
            dkim.counter(
                "postern_dkim_fragile_total",
                "Signed messages that relays may alter, so that the signature fails; by what they hold.", "reason",
                ["eight_bit", "long_line", "bare_line_end"], inLog: .several),
            dkim.counter(
                "postern_dkim_signatures_total",
                "Signatures of strangers' messages, by what they are worth; none for a message without any.", "result",
                dkimResults, inLog: .several),
            dkim.counter(
                "postern_dkim_forged_fields_removed_total",
                "Header fields removed since they claimed to be results of ours.", inLog: .one),
            dkim.counter(
                "postern_dkim_dns_temporary_failures_total", "Signatures whose key could not be had from DNS.",
                inLog: .one),
            dkim.counter(
                "postern_dkim_overloaded_total", "Messages that got a verdict at once since too many were under way.",
                inLog: .one),
            dkim.histogram(
                "postern_dkim_verdict_seconds", "Time from the end of a message to its verdict.", "action",
                ["sign", "verify", "other"]),
            dkim.histogram("postern_dkim_dns_wait_seconds", "Time that a message waited for a batch of questions."),
            dkim.gauge(
                "postern_dkim_key_published",
                "Whether DNS has the key's record and it fits; a key not looked up yet is not here, nor one of a directory "
                    + "that DNS lacks while another signs.", "key"),
            dkim.gauge(
                "postern_dkim_key_last_use_timestamp_seconds",
                "When the key last signed, since 1970; a key that never did is not here.", "key"),
        ]
    }()

    static let dmarc: [MetricFamily] = {
        let dmarc = Maker(daemon: "postern-dmarc")
        return [
            dmarc.counter(
                "postern_dmarc_messages_total", "Messages, by what became of them; each once.", "verdict",
                ["accepted", "quarantined", "held", "deferred", "rejected", "refused", "passed"], inLog: .one),
            dmarc.counter(
                "postern_dmarc_passed_total", "Messages that passed unjudged, by the reason.", "reason",
                ["ours", "relay", "passthrough", "reinjected"], inLog: .one),
            dmarc.counter(
                "postern_dmarc_shadow_total", "Messages that a shadow let off, by what would have become of them.",
                "verdict", ["quarantine", "hold", "defer", "reject"], inLog: .one),
            dmarc.counter(
                "postern_dmarc_results_total", "Judged messages, by what DMARC says of them.", "result", dmarcResults,
                inLog: .one),
            dmarc.counter(
                "postern_dmarc_spf_total", "Judged messages, by what SPF says of MAIL FROM.", "result", spfResults,
                inLog: .one),
            dmarc.counter(
                "postern_dmarc_signatures_total",
                "Signatures, by what they are worth; none for a message without any.", "result", dkimResults,
                inLog: .several),
            dmarc.counter(
                "postern_dmarc_overrides_total", "Policies not applied as published, by the reason.", "reason",
                ["local_policy", "mailing_list", "other", "policy_test_mode", "trusted_forwarder"], inLog: .one),
            dmarc.counter(
                "postern_dmarc_results_fields_removed_total",
                "Header fields removed since they claimed to be results of ours.", inLog: .one),
            dmarc.counter(
                "postern_dmarc_disposition_fields_removed_total",
                "Header fields removed since they claimed to be our disposition.", inLog: .one),
            dmarc.counter(
                "postern_dmarc_dns_temporary_failures_total", "Findings that say nothing since DNS did not answer.",
                inLog: .one),
            dmarc.counter(
                "postern_dmarc_overloaded_total", "Messages that got a verdict at once since too many were under way.",
                inLog: .one),
            dmarc.counter(
                "postern_dmarc_facts_total", "Facts for reports, by what became of them.", "outcome",
                ["written", "lost", "pruned"]),
            dmarc.gauge("postern_dmarc_facts_waiting", "Facts for reports that are not on the disk yet."),
            dmarc.histogram("postern_dmarc_verdict_seconds", "Time from the end of a message to its verdict."),
            dmarc.histogram("postern_dmarc_dns_wait_seconds", "Time that a message waited for a batch of questions."),
        ]
    }()
}
