// What DNS says of this host as receivers see it: the name in HELO, its addresses, and their PTR records (RFC 5321
// §4.1.4, RFC 1912 §2.1: every address has a PTR that matches). Where mail leaves by a smarthost, these are notes:
// receivers see the smarthost's.

internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct HELOFindings {
    let subject: DoctorSubject
    /// A view of DNS for one transaction, whose time begins now.
    let dns: () -> any DNSAnswering

    /// An address that mail leaves from, and what is said in HELO there.
    typealias Host = (helo: DomainName, address: IPAddress)

    func all() -> (findings: [DoctorFinding], addresses: [Host]) {
        var findings = subject.badHELONames
        var addresses: [Host] = []
        for (name, place, service) in subject.heloNames {
            let found = hostAddresses(name)
            findings += host(name, place, service, found)
            addresses += found.addresses.map { (name, $0) }
        }
        return (findings, addresses)
    }

    private struct HostAddresses {
        var addresses: [IPAddress] = []
        var isUnknown = false
    }

    /// Most addresses of a name that are looked at; a mail host has two.
    private static let maxAddresses = 8

    private func hostAddresses(_ name: DomainName) -> HostAddresses {
        var found = HostAddresses()
        for answer in dns().answers(to: [Question(name, .a), Question(name, .aaaa)]) {
            switch answer {
            case .records(let data, _):
                for record in data {
                    switch record {
                    case .a(let address), .aaaa(let address): found.addresses.append(address)
                    default: break
                    }
                }
            case .noData, .noSuchName: break
            case .temporaryFailure: found.isUnknown = true
            }
        }
        found.addresses = Array(found.addresses.prefix(Self.maxAddresses))
        return found
    }

    private func host(
        _ name: DomainName, _ place: String, _ service: PostfixService?, _ found: HostAddresses
    ) -> [DoctorFinding] {
        let isRelayed = subject.isRelayed
        guard !found.addresses.isEmpty else {
            guard !found.isUnknown else { return [] }
            return [
                DoctorFinding(
                    .heloName, isRelayed ? .note : .error, at: [place],
                    "\(name), our name in HELO, has no address in DNS",
                    why: "many receivers refuse a HELO name that does not resolve",
                    mends: [.advice("publish A and AAAA records for it: the addresses that this host sends from")])
            ]
        }
        var findings: [DoctorFinding] = []
        // Addresses of this host that its name does not have; hosts behind NAT have none of their own.
        let missing = subject.machine.addresses.filter { !found.addresses.contains($0) }
        if !missing.isEmpty, found.addresses.contains(where: subject.machine.addresses.contains) {
            findings.append(
                DoctorFinding(
                    .heloName, .note, at: [place],
                    "\(name) has not all addresses of this host: \(missing.map { "\($0)" }.joined(separator: ", "))",
                    why: "mail that leaves from there has a HELO name that leads elsewhere",
                    mends: [.advice("publish them, or bind Postfix to the others (smtp_bind_address)")]))
        }
        let answers = dns().answers(to: found.addresses.map { Question($0.reverseName, .ptr) })
        for (address, answer) in zip(found.addresses, answers) {
            findings += ptr(of: address, answer, name, service, isRelayed: isRelayed)
        }
        return findings
    }

    private func ptr(
        of address: IPAddress, _ answer: Answer, _ name: DomainName, _ service: PostfixService?, isRelayed: Bool
    ) -> [DoctorFinding] {
        var names: [DomainName] = []
        switch answer {
        case .records(let data, _):
            for case .ptr(let name) in data { names.append(name) }
        case .noData, .noSuchName: break
        case .temporaryFailure: return []
        }
        guard !names.isEmpty else {
            return [
                DoctorFinding(
                    .ptr, isRelayed ? .note : .error, at: ["\(address)"], "\(address) has no PTR record",
                    why: "large receivers refuse mail from addresses without a name",
                    mends: [.advice("ask who gave you the address to set its PTR to \(name)")])
            ]
        }
        guard !names.contains(name) else { return [] }
        let shown = names.prefix(3).map { "\($0)" }.joined(separator: ", ")
        return [
            DoctorFinding(
                .ptr, isRelayed ? .note : .warning, at: ["\(address)"],
                "the PTR of \(address) is \(shown), and we say HELO \(name)",
                why: "receivers that compare the two take the host for a client of somebody's network",
                mends: [
                    .advice("have the PTR set to \(name)"),
                    // A name of somebody else's would be wrong in HELO.
                    names.count == 1
                        ? subject.edit.set("smtp_helo_name", shown, for: service)
                        : .advice("or set smtp_helo_name to the PTR's name"),
                ])
        ]
    }
}

// MARK: The words

extension DoctorSubject {
    /// All mail leaves through another host.
    var isRelayed: Bool { !postfix.value("relayhost").isEmpty }

    /// What each of Postfix's clients says in HELO; nil where there is none but main.cf.
    private var heloTexts: [(text: String, service: PostfixService?)] {
        let clients = postfix.services(of: "smtp")
        return (clients.isEmpty ? [nil] : clients.map(Optional.some)).map { (postfix.value("smtp_helo_name", $0), $0) }
    }

    private static func heloName(_ text: String) -> DomainName? {
        guard let name = try? DomainName(text), name.isHostname(minLabels: 2) else { return nil }  // told below
        return name
    }

    /// What Postfix says in HELO, each name once, and the first service that does.
    var heloNames: [(name: DomainName, place: String, service: PostfixService?)] {
        var found: [(name: DomainName, place: String, service: PostfixService?)] = []
        for (text, service) in heloTexts {
            guard let name = Self.heloName(text), !found.contains(where: { $0.name == name }) else { continue }
            found.append((name, service?.place ?? "smtp_helo_name", service))
        }
        return found
    }

    /// HELO names that are none. Source: RFC 5321 §4.1.1.1, §2.3.5.
    var badHELONames: [DoctorFinding] {
        let right = "\(configuration.host.name)"
        return heloTexts.filter { Self.heloName($0.text) == nil }.map { text, service in
            // It follows myhostname, unless it is set by itself.
            let isOwn = service?.overrides["smtp_helo_name"] != nil || text != postfix.value("myhostname")
            return DoctorFinding(
                .heloName, isRelayed ? .note : .error, at: [service?.place ?? "smtp_helo_name"],
                "we say HELO \(text), which is no full host name",
                why: "many receivers refuse a HELO without a domain (RFC 5321 §2.3.5)",
                mends: isOwn
                    ? [edit.set("smtp_helo_name", right, for: service)]
                    : [edit.set("myhostname", right), edit.reset("smtp_helo_name")])
        }
    }
}
