// Whether the daemons' DNS works: answers at all, is no loop, and is not refused by the DNS lists in use. Asked the way
// the daemons ask, through postern-dns, unless --resolver names another.

internal import PosternAdmission
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct DNSFindings {
    let subject: DoctorSubject
    /// A view of DNS for one transaction, whose time begins now.
    let dns: () -> any DNSAnswering

    // MARK: At all

    /// What is found where DNS answers nothing; nil where it answers.
    func silence() -> DoctorFinding? {
        var questions: [Question] = []
        for name in subject.heloNames.map(\.name) + subject.signingDomains {
            questions += [Question(name, .a), Question(name, .txt)]
        }
        if questions.isEmpty { questions = [Question(subject.configuration.host.name, .a)] }
        var last = "no answer"
        for answer in dns().answers(to: Array(questions.prefix(16))) {
            guard case .temporaryFailure(let detail) = answer else { return nil }
            last = detail
        }
        let name = questions.first?.name ?? .root
        return DoctorFinding(
            .dnsSilent, .error, "DNS answers nothing: \(last)",
            why: "SPF, DKIM and DMARC read temperror and DNS lists say nothing: strangers' mail is let in unjudged",
            mends: [
                .advice(
                    "look with postern dns query \(name) A --trace, and whether the resolver of dns.upstream or "
                        + "/etc/resolv.conf answers")
            ])
    }

    // MARK: A loop

    /// postern-dns asks the system's resolvers where `dns.upstream` names none; a system that asks postern-dns closes
    /// the circle. A loop that the configuration names by itself is refused by `postern check`.
    static func loop(_ subject: DoctorSubject) -> [DoctorFinding] {
        let configuration = subject.configuration
        guard configuration.dns.upstreams.isEmpty else { return [] }
        let own = configuration.listen.dns.compactMap { endpoint -> IPAddress? in
            switch endpoint {
            case .udp(let host, 53), .tcp(let host, 53):
                host == "localhost" ? IPAddress("127.0.0.1") : IPAddress(host)
            default: nil
            }
        }
        guard let resolver = subject.machine.resolvers.first(where: own.contains) else { return [] }
        return [
            DoctorFinding(
                .dnsLoop, .error, at: ["/etc/resolv.conf"],
                "nameserver \(resolver) is postern-dns, which asks the nameservers of /etc/resolv.conf",
                why: "it asks itself until its time is up; whatever is not in its cache is not answered",
                mends: [.configuration("[dns]\nupstream = [\"192.0.2.53\"]  # the address of a real resolver")])
        ]
    }

    // MARK: Lists

    /// Lists that are known to be no use, or asked by a resolver that they do not answer.
    static func knownLists(_ subject: DoctorSubject) -> [DoctorFinding] {
        let configuration = subject.configuration
        var findings: [DoctorFinding] = []
        for list in configuration.dnsbl.lists {
            guard let since = KnownLists.deadSince(list.zone) else { continue }
            findings.append(
                DoctorFinding(
                    .listDead, .warning, at: [ZoneName.redacted(list.zone)], "this list answers no more since \(since)",
                    why: "dead lists cost time, and some list the whole world at last",
                    mends: [.advice("remove its [[dnsbl.list]]")]))
        }
        let advice = configuration.advice(onSystemResolvers: subject.machine.resolvers)
        for text in advice {
            findings.append(
                DoctorFinding(
                    .listRefused, .warning, at: configuration.dnsbl.lists.map { ZoneName.redacted($0.zone) }, text,
                    why: "the lists answer \"refused\", or \"not listed\" for everybody: they do nothing",
                    mends: [zoneOfOnesOwn("example.org")]))
        }
        return findings
    }

    /// Asks each list for its test entries. Source: RFC 5782 §5.
    func lists(now: UnixTime) -> [DoctorFinding] {
        let settings = subject.configuration.dnsbl.lists.filter { KnownLists.deadSince($0.zone) == nil }
        guard !settings.isEmpty else { return [] }
        let health = DNSBLHealth(settings)
        health.probe(now: now, dns: dns)
        return health.statuses.filter { $0.state != .working }.map { status in
            DoctorFinding(
                .listRefused, .warning, at: [status.zone],
                "this list would not be asked: \(status.reason ?? "its test entries are not right")",
                why: "postern-policy asks no list whose test entries are not right: it adds nothing to any score",
                mends: [
                    .advice(
                        "where it refuses this host's resolver, ask by a recursive one of your own ([[dns.zone]] with "
                            + "upstream); where it is gone, remove its [[dnsbl.list]]")
                ])
        }
    }

    private static func zoneOfOnesOwn(_ zone: String) -> DoctorFinding.Mend {
        .advice(
            "run a recursive resolver (unbound) on this host and name it: dns.upstream, or [[dns.zone]] with "
                + "upstream for the lists' zones")
    }
}
