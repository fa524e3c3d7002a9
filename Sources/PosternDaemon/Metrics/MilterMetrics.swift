// What postern-dkim and postern-dmarc tell.

extension MetricFamily {
    static let dkim: [MetricFamily] = {
        let dkim = Maker(daemon: "postern-dkim")
        return [
            dkim.counter(
                "postern_dkim_messages_total", "Messages, by what became of them; each once.", "verdict",
                ["signed", "verified", "passed", "refused", "deferred"]),
            dkim.counter(
                "postern_dkim_passed_total", "Messages that passed as they were, by the reason.", "reason",
                ["relay", "passthrough", "reinjected", "no_key", "verify_off"]),
            dkim.counter(
                "postern_dkim_signatures_total",
                "Signatures of strangers' messages, by what they are worth; none for a message without any.", "result",
                dkimResults),
            dkim.counter(
                "postern_dkim_forged_fields_removed_total",
                "Header fields removed since they claimed to be results of ours."),
            dkim.counter(
                "postern_dkim_dns_temporary_failures_total", "Signatures whose key could not be had from DNS."),
            dkim.counter(
                "postern_dkim_overloaded_total", "Messages that got a verdict at once since too many were under way."),
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
                ["accepted", "quarantined", "held", "deferred", "rejected", "refused", "passed"]),
            dmarc.counter(
                "postern_dmarc_passed_total", "Messages that passed unjudged, by the reason.", "reason",
                ["ours", "relay", "passthrough", "reinjected"]),
            dmarc.counter(
                "postern_dmarc_shadow_total", "Messages that a shadow let off, by what would have become of them.",
                "verdict", ["quarantine", "hold", "defer", "reject"]),
            dmarc.counter(
                "postern_dmarc_results_total", "Judged messages, by what DMARC says of them.", "result", dmarcResults),
            dmarc.counter(
                "postern_dmarc_spf_total", "Judged messages, by what SPF says of MAIL FROM.", "result", spfResults),
            dmarc.counter(
                "postern_dmarc_signatures_total",
                "Signatures, by what they are worth; none for a message without any.", "result", dkimResults),
            dmarc.counter(
                "postern_dmarc_overrides_total", "Policies not applied as published, by the reason.", "reason",
                ["local_policy", "mailing_list", "other", "policy_test_mode", "trusted_forwarder"]),
            dmarc.counter(
                "postern_dmarc_results_fields_removed_total",
                "Header fields removed since they claimed to be results of ours."),
            dmarc.counter(
                "postern_dmarc_disposition_fields_removed_total",
                "Header fields removed since they claimed to be our disposition."),
            dmarc.counter(
                "postern_dmarc_dns_temporary_failures_total", "Findings that say nothing since DNS did not answer."),
            dmarc.counter(
                "postern_dmarc_overloaded_total", "Messages that got a verdict at once since too many were under way."),
            dmarc.counter(
                "postern_dmarc_facts_total", "Facts for reports, by what became of them.", "outcome",
                ["written", "lost", "pruned"]),
            dmarc.gauge("postern_dmarc_facts_waiting", "Facts for reports that are not on the disk yet."),
            dmarc.histogram("postern_dmarc_verdict_seconds", "Time from the end of a message to its verdict."),
            dmarc.histogram("postern_dmarc_dns_wait_seconds", "Time that a message waited for a batch of questions."),
        ]
    }()
}
