// What happens to a message outside of our milters' sight: content filters that give it back, rewriting behind the
// signature, rewriting before strangers' signatures are verified. Tables are not looked into: that a table is named is
// what is told. Source: FILTER_README, ADDRESS_REWRITING_README, header_checks(5).

internal import PosternDaemon
internal import PosternMail

enum ContentFindings {
    static func all(_ subject: DoctorSubject) -> [DoctorFinding] {
        reinjection(subject) + outgoing(subject) + conversions(subject) + incoming(subject) + softBounce(subject)
    }

    // MARK: The way back from a content filter

    private static func reinjection(_ subject: DoctorSubject) -> [DoctorFinding] {
        subject.servers.compactMap { service, role in
            guard role == .reinjection else { return nil }
            let options = PostfixWords.split(subject.postfix.value("receive_override_options", service)) ?? []
            guard !options.contains("no_milters"), let servers = subject.milters("smtpd_milters", service) else {
                return nil
            }
            let ours = servers.compactMap { subject.owner(of: $0.endpoint, isChrooted: service.isChrooted)?.daemon }
            let name = subject.postfix.value("milter_macro_daemon_name", service)
            guard !ours.isEmpty, !subject.configuration.host.passthrough.contains(name) else { return nil }
            let others = servers.filter { subject.owner(of: $0.endpoint, isChrooted: service.isChrooted) == nil }
            return DoctorFinding(
                .reinjectionJudged, .error, at: [service.place],
                "mail that a content filter gives back goes through our milters a second time",
                why:
                    "the results and marks of the first time are removed as forged, since they come from elsewhere now",
                mends: [
                    subject.edit.set(
                        "smtpd_milters", others.map(\.text).joined(separator: ", "), for: service, apart: true)
                ])
        }
    }

    // MARK: Behind our signature

    private static let outgoingParameters = [
        "smtp_generic_maps", "smtp_header_checks", "smtp_mime_header_checks", "smtp_nested_header_checks",
        "smtp_body_checks",
    ]

    private static func outgoing(_ subject: DoctorSubject) -> [DoctorFinding] {
        guard subject.signs else { return [] }
        let clients = subject.postfix.services(of: "smtp")
        var findings: [DoctorFinding] = []
        for parameter in outgoingParameters {
            let services: [PostfixService?] =
                clients.isEmpty ? [nil] : clients.filter { !subject.postfix.value(parameter, $0).isEmpty }
            for service in services {
                let value = subject.postfix.value(parameter, service)
                guard !value.isEmpty else { continue }
                let isGeneric = parameter == "smtp_generic_maps"
                findings.append(
                    DoctorFinding(
                        .signedMailAltered, .warning, at: [service?.place ?? parameter],
                        "\(parameter) (\(value)) alters mail after it is signed",
                        why: "a signature does not verify where From or another signed field has become another one",
                        mends: [
                            subject.edit.set(parameter, "", for: service),
                            .advice(
                                isGeneric
                                    ? "canonical_maps rewrite addresses before the mail is signed"
                                    : "header_checks and body_checks work before the mail is signed"),
                        ]))
            }
        }
        return findings
    }

    /// What has Postfix make other text of signed text (RFC 6376 §5.3), without need: where the next host takes 8-bit text,
    /// and lines as long as RFC 5322 §2.1.1 lets them be.
    private static func conversions(_ subject: DoctorSubject) -> [DoctorFinding] {
        guard subject.signs else { return [] }
        let clients = subject.postfix.services(of: "smtp")
        return (clients.isEmpty ? [nil] : clients.map(Optional.some)).flatMap { service -> [DoctorFinding] in
            func finding(_ parameter: String, _ does: String, _ mended: String) -> DoctorFinding {
                DoctorFinding(
                    .signedMailAltered, .warning, at: [service?.place ?? parameter],
                    "\(parameter) (\(subject.postfix.value(parameter, service))) has Postfix \(does) after mail is signed",
                    why: "the body that arrives is not the one that was signed, and the signature fails",
                    mends: [subject.edit.set(parameter, mended, for: service)])
            }
            var findings: [DoctorFinding] = []
            let discarded = PostfixWords.split(subject.postfix.value("smtp_discard_ehlo_keywords", service)) ?? []
            let others = discarded.filter { $0.lowercased() != "8bitmime" }
            if others.count < discarded.count {
                findings.append(
                    finding(
                        "smtp_discard_ehlo_keywords", "make quoted-printable of 8-bit text",
                        others.joined(separator: ", ")))
            }
            let parameter = "smtp_line_length_limit"
            // 0: no limit.
            if let limit = Int(subject.postfix.value(parameter, service)), (1..<998).contains(limit) {
                findings.append(finding(parameter, "break lines", "998"))
            }
            return findings
        }
    }

    // MARK: Before strangers' signatures are verified

    private static func incoming(_ subject: DoctorSubject) -> [DoctorFinding] {
        var findings: [DoctorFinding] = []
        let rewriters = ["canonical_maps", "sender_canonical_maps", "recipient_canonical_maps", "masquerade_domains"]
            .filter { !subject.postfix.value($0, subject.cleanup).isEmpty }
        for (service, role) in subject.servers where role == .mx {
            let domain = subject.postfix.value("remote_header_rewrite_domain", service)
            if !domain.isEmpty {
                findings.append(
                    DoctorFinding(
                        .strangersMailAltered, .error, at: [service.place],
                        "remote_header_rewrite_domain is \(domain)",
                        why: "headers of strangers' mail are rewritten before they are verified: good signatures fail",
                        mends: [subject.edit.set("remote_header_rewrite_domain", "", for: service)]))
            }
            let clients = PostfixWords.split(subject.postfix.value("local_header_rewrite_clients", service)) ?? []
            if clients.contains(where: { $0.lowercased().hasPrefix("static:all") || $0 == "permit" }) {
                findings.append(
                    DoctorFinding(
                        .strangersMailAltered, .error, at: [service.place],
                        "local_header_rewrite_clients holds for everybody",
                        why: "headers of strangers' mail are rewritten before they are verified: good signatures fail",
                        mends: [
                            subject.edit.set(
                                "local_header_rewrite_clients",
                                "permit_inet_interfaces, permit_mynetworks, permit_sasl_authenticated", for: service)
                        ]))
            }
        }
        if !rewriters.isEmpty {
            findings.append(
                DoctorFinding(
                    .strangersMailAltered, .note, at: rewriters,
                    "headers of mail from our own networks are rewritten",
                    why: "our signature comes after that and holds; one that such mail brings along does not",
                    mends: [.advice("sign such mail on this host, not before")]))
        }
        return findings
    }

    private static func softBounce(_ subject: DoctorSubject) -> [DoctorFinding] {
        guard subject.postfix.isYes("soft_bounce") else { return [] }
        return [
            DoctorFinding(
                .softBounce, .warning, at: ["soft_bounce"], "soft_bounce is on",
                why: "every refusal of ours reaches the sender as \"try again\": refused mail comes back for days",
                mends: [subject.edit.reset("soft_bounce")])
        ]
    }
}
