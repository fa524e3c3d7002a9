// What a DNS list's answer means (RFC 5782 §2.1, §2.3). An answer is believed only where it is one: lists tell in
// 127.255/16 that they refuse us (Spamhaus), parked domains answer with somebody's web server, and neither is a listing.

internal import PosternDNS
internal import PosternMail

enum DNSBLReading: Hashable {
    /// At least one answer is named in the settings.
    case listed(score: Int, [IPAddress])
    /// No answer, or none that counts: these.
    case notListed([IPAddress])
    /// Nobody could tell, and why.
    case silent(String)
    /// The list refuses to answer us.
    case refused(IPAddress)
    /// No DNS list answers so.
    case foreign(IPAddress)

    /// Most addresses of one answer that are looked at. Lists have about a dozen.
    static let maxAddresses = 64

    init(_ answer: Answer, _ scores: [DNSBLScore]) {
        let data: [RecordData]
        switch answer {
        case .records(let records, _): data = records
        case .noData, .noSuchName: data = []  // RFC 5782 §2.1: no record, not listed
        case .temporaryFailure(let text):
            self = .silent(text)
            return
        }
        let addresses = data.prefix(Self.maxAddresses).compactMap { record in
            if case .a(let address) = record { address } else { nil }
        }
        if let refusal = addresses.first(where: \.isRefusal) {
            self = .refused(refusal)
        } else if let stranger = addresses.first(where: { !$0.isLoopback }) {
            self = .foreign(stranger)  // RFC 5782 §2.1: answers are in 127/8
        } else {
            // RFC 5782 §5: 127.0.0.1 is never listed; filters answer so for what they hide.
            let named = addresses.filter { $0 != .v4(0x7F00_0001) }
            let counted = named.filter { address in scores.contains { $0.answers.contains(address) } }
            let highest = scores.filter { score in counted.contains { score.answers.contains($0) } }.map(\.score).max()
            self = highest.map { .listed(score: $0, counted) } ?? .notListed(addresses)
        }
    }

    /// What it adds to the client's score.
    var score: Int { if case .listed(let score, _) = self { score } else { 0 } }
}

extension IPAddress {
    /// 127.255/16: no listing but trouble.
    fileprivate var isRefusal: Bool { if case .v4(let bits) = self { bits >> 16 == 0x7FFF } else { false } }
}

extension [IPAddress] {
    /// Most addresses that a text repeats.
    private static var maxTold: Int { 4 }

    /// `127.0.0.2, 127.0.0.4`, and that there are more.
    var told: String {
        prefix(Self.maxTold).map { "\($0)" }.joined(separator: ", ") + (count > Self.maxTold ? " and more" : "")
    }
}
