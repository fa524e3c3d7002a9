// The log line of one transaction, in Postfix's grammar (smtpd's log_whatsup), so that tools for Postfix logs read it:
// `<queue id|NOQUEUE>: <action>: <stage> from <name[address]>: <text>; from=<> to=<> proto= helo=<>`.

public struct OutcomeLine: Sendable, Equatable {
    public var queueID: String?
    /// One word of ours: `sign`, `verify`, `reject`, `pass` ...
    public var action: String
    /// Postfix's name of the stage: `CONNECT`, `MAIL`, `RCPT`, `END-OF-MESSAGE` ...
    public var stage: String
    public var client: SMTPClient
    /// The finding and its reason; ours, so printable.
    public var text: String
    public var mailFrom: [UInt8]?
    public var recipient: [UInt8]?
    public var proto: String?
    public var helo: [UInt8]?
    /// What the metrics count with it; the JSON form tells it.
    public var counted: [CounterReading]

    /// Octets of `text` that every form of the log has room for; what is longer may be cut there. JSON has less room for
    /// text that is full of quotation marks or backslashes.
    public static let maxTextOctets = 768

    public init(
        queueID: String?, action: String, stage: String, client: SMTPClient, text: String, mailFrom: [UInt8]? = nil,
        recipient: [UInt8]? = nil, proto: String? = nil, helo: [UInt8]? = nil, counted: [CounterReading] = []
    ) {
        self.queueID = queueID
        self.action = action
        self.stage = stage
        self.client = client
        self.text = text
        self.mailFrom = mailFrom
        self.recipient = recipient
        self.proto = proto
        self.helo = helo
        self.counted = counted
    }
}

extension OutcomeLine: CustomStringConvertible {
    public var description: String {
        var line = "\(queueID ?? "NOQUEUE"): \(action): \(stage) from \(LogText.client(client)): \(text)"
        var facts: [String] = []
        if let mailFrom { facts.append("from=<\(LogText.escaped(mailFrom))>") }
        if let recipient { facts.append("to=<\(LogText.escaped(recipient))>") }
        if let proto { facts.append("proto=\(proto)") }
        if let helo { facts.append("helo=<\(LogText.escaped(helo))>") }
        if !facts.isEmpty { line += "; " + facts.joined(separator: " ") }
        return line
    }
}

/// Octets of strangers, made safe for one line of a log.
public enum LogText {
    /// Longest text of a stranger in a line, in octets of output. Longer ones end in `...`.
    public static let maxOctets = 256

    /// `<`, `>`, `\`, controls and octets over 0x7E become `\xHH`; at most `maxOctets` octets.
    public static func escaped(_ octets: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        let hex = Array("0123456789ABCDEF".utf8)
        for octet in octets {
            let isPlain = octet >= 0x20 && octet <= 0x7E && octet != 0x3C && octet != 0x3E && octet != 0x5C
            let piece = isPlain ? [octet] : [0x5C, 0x78, hex[Int(octet >> 4)], hex[Int(octet & 15)]]
            guard text.count + piece.count <= maxOctets else {
                text += Array("...".utf8)
                break
            }
            text += piece
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// `name[address]`; the name only if it is a valid hostname, else `unknown`.
    public static func client(_ client: SMTPClient) -> String {
        let name = (try? DomainName(text: client.name)).flatMap { $0.isHostname() ? $0.description : nil }  // else: unknown
        return "\(name ?? "unknown")[\(client.address.map(\.description) ?? "unknown")]"
    }
}
