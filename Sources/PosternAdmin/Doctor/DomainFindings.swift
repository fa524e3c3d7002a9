// What DNS says of the domains that this host signs for, as receivers see it: SPF (RFC 7208), DMARC (RFC 9989), and
// what asks senders for TLS (RFC 8461, RFC 7672). Keys are KeyFindings'. Where mail leaves by a smarthost, SPF is
// about that.

internal import PosternAuth
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct DomainFindings {
    let subject: DoctorSubject
    /// A view of DNS for one transaction, whose time begins now.
    let dns: () -> any DNSAnswering
    let now: UnixTime

    func all() -> [DoctorFinding] {
        var (findings, addresses) = HELOFindings(subject: subject, dns: dns).all()
        for domain in subject.signingDomains {
            let discovered = DiscoveredPolicy(of: domain, dns: dns())
            findings += spf(domain, addresses) + dmarc(domain, discovered) + inboundTLS(domain)
        }
        return findings + tooMany()
    }

    // MARK: SPF

    private func spf(_ domain: DomainName, _ addresses: [(helo: DomainName, address: IPAddress)]) -> [DoctorFinding] {
        let lint = SPFLint(of: domain, dns: dns())
        let command = "postern spf --lint \(domain)"
        guard lint.hasRecord else {
            guard !lint.isIncomplete else { return [] }
            let ends = addresses.map(\.address).map { address in
                if case .v4 = address { "ip4:\(address)" } else { "ip6:\(address)" }
            }
            return [
                DoctorFinding(
                    .spf, .warning, at: ["\(domain)"], "\(domain) publishes no SPF record",
                    why: "anyone may use it as an envelope sender; DMARC of its mail rests on DKIM alone",
                    mends: [
                        .advice("publish: \(domain). TXT \"v=spf1 mx \(ends.map { $0 + " " }.joined())-all\"")
                    ])
            ]
        }
        let problems = lint.problems + lint.visits.flatMap(\.problems)
        var findings: [DoctorFinding] = []
        // The first says it; the command shows all of them with their place.
        if let error = problems.first(where: { $0.severity == .error }) {
            findings.append(
                DoctorFinding(
                    .spf, .error, at: ["\(domain)"], "the SPF record is an error to receivers: \(error.text)",
                    why: "they read permerror, and many refuse the mail", mends: [.advice("see \(command)")]))
        } else if let warning = problems.first, !lint.isIncomplete {
            findings.append(
                DoctorFinding(
                    .spf, .note, at: ["\(domain)"], "of the SPF record: \(warning.text)",
                    why: "it works and is not as it should be", mends: [.advice("see \(command)")]))
        }
        guard !subject.isRelayed else { return findings }
        for (helo, address) in addresses {
            let finding = SPFJudge.checkMailFrom(
                Array("postmaster@\(domain)".utf8), client: address, helo: Array("\(helo)".utf8), receiver: nil,
                dns: dns(), now: now)
            guard [.fail, .softfail, .neutral].contains(finding.result) else { continue }
            let term = if case .v4 = address { "ip4:\(address)" } else { "ip6:\(address)" }
            findings.append(
                DoctorFinding(
                    .spfExcludesUs, finding.result == .fail ? .error : .warning, at: ["\(domain)"],
                    "SPF of \(domain) says \(finding.result.rawValue) for \(address), our address",
                    why: "receivers refuse or doubt what this host sends for it",
                    mends: [.advice("add \(term) to the record, before its all")]))
        }
        return findings
    }

    // MARK: DMARC

    private func dmarc(_ domain: DomainName, _ discovered: DiscoveredPolicy) -> [DoctorFinding] {
        guard discovered.finding.result != .temperror else { return [] }
        let command = "postern dmarc \(domain)"
        guard let policy = discovered.policy else {
            let isThere = discovered.steps.contains(where: \.hasRecord)
            return [
                DoctorFinding(
                    .dmarc, .warning, at: ["\(domain)"],
                    isThere
                        ? "the DMARC record of \(domain) is not usable: \(discovered.finding.reason)"
                        : "no DMARC record governs \(domain)",
                    why: "anyone may write mail in its name, and large receivers ask bulk senders for a record",
                    mends: [
                        .advice(
                            isThere
                                ? "see \(command)" : "publish: _dmarc.\(domain). TXT \"v=DMARC1; p=none; rua=mailto:…\""
                        )
                    ])
            ]
        }
        var findings: [DoctorFinding] = []
        if let mistake = discovered.steps.lazy.filter(\.counts).flatMap(\.mistakes).first {
            findings.append(
                DoctorFinding(
                    .dmarc, .warning, at: ["\(domain)"], "the DMARC record has a mistake: \(mistake)",
                    why: "receivers skip what they cannot read: the record says less than it seems to",
                    mends: [.advice("see \(command)")]))
        }
        if policy.value == .none {
            findings.append(
                DoctorFinding(
                    .dmarc, .note, at: ["\(domain)"], "the DMARC policy of \(domain) is none",
                    why: "receivers do nothing about mail in its name that authenticates by nothing",
                    mends: [.advice("when reports show that all good mail passes, publish p=quarantine, then p=reject")]
                ))
        }
        return findings
    }

    // MARK: TLS towards us

    private static let tlsa = RecordType(rawValue: 52)  // RFC 6698 §7.1

    private func inboundTLS(_ domain: DomainName) -> [DoctorFinding] {
        var exchanges: [DomainName] = []
        if case .records(let data, _) = dns().answer(to: Question(domain, .mx)) {
            for case .mx(_, let name) in data where subject.isOurs(name) { exchanges.append(name) }
        }
        guard let exchange = exchanges.first, let port = try? DomainName("_25._tcp").prefixing(exchange),
            let sts = try? domain.prefixed("_mta-sts")
        else { return [] }  // mail for it goes elsewhere, or its name is too long for such records
        let answers = dns().answers(to: [Question(port, Self.tlsa), Question(sts, .txt)])
        guard answers.count == 2, let first = answers.first, let second = answers.last else { return [] }
        let hasTLSA = if case .records = first { true } else { false }
        var policies = 0
        if case .records(let data, _) = second {
            for case .txt(let text) in data where text.starts(with: "v=STSv1;".utf8) { policies += 1 }
        }
        let deaf = subject.servers.filter { $0.role == .mx && !subject.offersTLS($0.service) }.map(\.service)
        if let service = deaf.first, hasTLSA || policies > 0 {
            return [
                DoctorFinding(
                    .inboundTLS, hasTLSA ? .error : .warning, at: [service.place],
                    "\(hasTLSA ? "a TLSA record of \(exchange)" : "MTA-STS of \(domain)") asks for TLS, and Postfix "
                        + "offers none",
                    why: "senders that heed it do not deliver to us",
                    mends: (subject.asksForTLS(service)
                        ? [] : [subject.edit.set("smtpd_tls_security_level", "may", for: service)])
                        + (subject.hasCertificate(service)
                            ? [] : [.advice("name a certificate: smtpd_tls_chain_files (TLS_README)")]))
            ]
        }
        if policies > 1 {
            return [
                DoctorFinding(
                    .inboundTLS, .warning, at: ["\(domain)"], "\(sts) has \(policies) MTA-STS records",
                    why: "several count as none (RFC 8461 §3.1)", mends: [.advice("keep one")])
            ]
        }
        guard !hasTLSA, policies == 0 else { return [] }
        return [
            DoctorFinding(
                .inboundTLS, .note, at: ["\(domain)"], "neither MTA-STS nor a TLSA record asks senders for TLS",
                why: "who stands between can read mail for \(domain) by hiding STARTTLS",
                mends: [.advice("publish MTA-STS (RFC 8461), or with DNSSEC a TLSA record (RFC 7672)")])
        ]
    }

    private func tooMany() -> [DoctorFinding] {
        let count = Set(subject.configuration.dkim.entries.map(\.domain)).count
        guard count > DoctorSubject.maxDomains else { return [] }
        return [
            DoctorFinding(
                .spf, .note, "only \(DoctorSubject.maxDomains) of \(count) signing domains were looked at in DNS",
                why: "more would take minutes",
                mends: [.advice("look at the others with postern spf --lint and postern dmarc")])
        ]
    }
}

// MARK: The words

extension DoctorSubject {
    /// Most signing domains that DNS is asked about.
    static let maxDomains = 100

    /// Domains that we sign for, each once.
    var signingDomains: [DomainName] {
        var found: [DomainName] = []
        for entry in configuration.dkim.entries where !found.contains(entry.domain) { found.append(entry.domain) }
        return Array(found.prefix(Self.maxDomains))
    }

    func isOurs(_ exchange: DomainName) -> Bool {
        exchange == configuration.host.name || "\(exchange)" == postfix.value("myhostname").lowercased()
    }

    /// STARTTLS is there. Source: TLS_README.
    func offersTLS(_ service: PostfixService) -> Bool { asksForTLS(service) && hasCertificate(service) }

    fileprivate func asksForTLS(_ service: PostfixService) -> Bool {
        let level = postfix.value("smtpd_tls_security_level", service).lowercased()
        return level.isEmpty ? postfix.isYes("smtpd_use_tls", service) : level != "none"
    }

    fileprivate func hasCertificate(_ service: PostfixService) -> Bool {
        ["smtpd_tls_cert_file", "smtpd_tls_chain_files", "smtpd_tls_eccert_file"].contains {
            !["", "none"].contains(postfix.value($0, service).lowercased())
        }
    }
}

extension DomainName {
    /// This name before another: `_25._tcp` before `mx.example.com`.
    fileprivate func prefixing(_ name: DomainName) throws(DomainNameError) -> DomainName { try name.prefixed(self) }
}

extension WalkedName {
    /// Something that calls itself a policy record.
    var hasRecord: Bool { !records.isEmpty }
}
