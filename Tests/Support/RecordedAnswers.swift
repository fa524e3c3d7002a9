// Tests/Fixtures/dns-answers: replies of real DNS servers, as they came.

public import PosternDNS
import PosternMail

public struct RecordedAnswer: Sendable, CustomStringConvertible {
    public let server: String
    public let isStream: Bool
    public let question: Question
    public let octets: [UInt8]

    public var description: String { "\(server) \(isStream ? "tcp" : "udp") \(question)" }

    /// All of them, in their order.
    public static func all() throws -> [RecordedAnswer] {
        struct Unreadable: Error { var line: String }
        let text = String(decoding: try Fixtures.octets("dns-answers/answers.txt"), as: UTF8.self)
        return try text.split(separator: "\n").filter { !$0.hasPrefix("#") }.map { line in
            let words = line.split(separator: " ").map(String.init)
            // RecordType prints what it has no name for as TYPEnnn; the file says CAA and the like.
            let numbers = ["SRV": "TYPE33", "DNSKEY": "TYPE48", "TLSA": "TYPE52", "CAA": "TYPE257"]
            guard words.count == 5, let type = RecordType(numbers[words[3]] ?? words[3]) else {
                throw Unreadable(line: String(line))
            }
            var digits = words[4][...]
            var octets: [UInt8] = []
            while let octet = UInt8(digits.prefix(2), radix: 16), digits.count >= 2 {
                octets.append(octet)
                digits = digits.dropFirst(2)
            }
            return RecordedAnswer(
                server: words[0], isStream: words[1] == "tcp", question: Question(try DomainName(words[2]), type),
                octets: octets)
        }
    }
}
