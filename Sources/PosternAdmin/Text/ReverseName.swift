// The name under which an address has its PTR record.

internal import PosternMail

extension IPAddress {
    /// `1.2.0.192.in-addr.arpa`, or nibbles below `ip6.arpa`. Source: RFC 1035 §3.5, RFC 3596 §2.5.
    var reverseName: DomainName {
        let labels: [String]
        switch unmapped {
        case .v4: labels = unmapped.octets.reversed().map { "\($0)" } + ["in-addr", "arpa"]
        case .v6:
            labels =
                octets.reversed().flatMap { [String($0 & 15, radix: 16), String($0 >> 4, radix: 16)] } + [
                    "ip6", "arpa",
                ]
        }
        // Labels of one to seven octets, 73 octets at most: there is nothing to be thrown.
        return (try? DomainName(labels: labels.map { Array($0.utf8) })) ?? .root
    }
}
