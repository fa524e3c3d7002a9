// One event as one line of text or one JSON object. Whatever is in it, the line is one line: controls, line and
// paragraph separators and invisible formatting characters become \xHH, so that nobody can write another's line.

import Glibc
import PosternMail
import PosternSocket

/// Who writes, and in which form.
struct LogRendering: Sendable {
    let program: String
    let pid: Int32
    let format: LogFormat

    /// Longest line, its line end included: what one write(2) to a pipe does in one piece. Source: pipe(7), PIPE_BUF.
    static let maxLineOctets = 4096
    /// Longest word in a JSON object that is Postfix's or ours: queue id, action, stage, protocol.
    static let maxWordOctets = 64

    /// The line without program, process id and line end: Postfix's grammar or a JSON object.
    func message(of event: LogEvent, at now: UnixTime) -> String {
        switch format {
        case .postfix: Self.text(of: event)
        case .json: json(of: event, at: now)
        }
    }

    /// - Returns: `text` cut to `octets` octets at a character, with `...` to show it.
    static func cut(_ text: String, to octets: Int) -> String {
        guard text.utf8.count > octets else { return text }
        var kept = ""
        var count = 3
        for character in text.unicodeScalars {
            count += character.utf8.count
            guard count <= octets else { break }
            kept.unicodeScalars.append(character)
        }
        return kept + "..."
    }

    /// `warning: ...` as Postfix's own programs write it; info lines and outcomes have no word before them.
    static func text(of event: LogEvent) -> String {
        switch event {
        case .outcome(let line): printable("\(line)")
        case .note(.info, let text): printable(text)
        case .note(let level, let text): "\(level): \(printable(text))"
        }
    }

    /// The text with everything that is no printable character as `\xHH`, octet by octet.
    static func printable(_ text: String) -> String {
        if text.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) { return text }
        var safe = ""
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
                for octet in scalar.utf8 { safe += "\\x" + hex(octet) }
            default: safe.unicodeScalars.append(scalar)
            }
        }
        return safe
    }

    private static func hex(_ octet: UInt8) -> String {
        let digits = String(octet, radix: 16, uppercase: true)
        return digits.utf8.count < 2 ? "0" + digits : digits
    }

    // MARK: JSON

    /// The text gets the room that all else leaves, so that the object is whole and what was decided stands in it.
    private func json(of event: LogEvent, at now: UnixTime) -> String {
        var object = JSONLine()
        object.add("time", .text(Self.timestamp(now)))
        object.add("program", .text(program))
        object.add("pid", .number(Int(pid)))
        object.add("level", .text("\(event.level)"))
        guard case .outcome(let line) = event else {
            if case .note(_, let text) = event { object.add("text", .text(Self.printable(text))) }
            return object.text(within: Self.maxLineOctets - 1)
        }
        let name = LogText.client(line.client).prefix { $0 != "[" }
        object.add("queue_id", .optional(line.queueID.map(Self.word)))
        object.add("action", .text(Self.word(line.action)))
        object.add("stage", .text(Self.word(line.stage)))
        object.add("client_name", .optional(name == "unknown" ? nil : String(name)))
        object.add("client_address", .optional(line.client.address.map { "\($0)" }))
        object.add("text", .text(Self.printable(line.text)))
        object.add("from", .optional(line.mailFrom.map(LogText.escaped)))
        object.add("to", .optional(line.recipient.map(LogText.escaped)))
        object.add("proto", .optional(line.proto.map(Self.word)))
        object.add("helo", .optional(line.helo.map(LogText.escaped)))
        for member in CountedWords.members(of: line.counted, program: program) { object.add(member) }
        return object.text(within: Self.maxLineOctets - 1)
    }

    private static func word(_ text: String) -> String { cut(printable(text), to: maxWordOctets) }

    /// `2026-11-21T01:52:23.004Z`. Source: RFC 3339 §5.6.
    static func timestamp(_ now: UnixTime) -> String {
        var seconds = time_t(now.seconds)
        var fields = tm()
        gmtime_r(&seconds, &fields)
        let milliseconds = (now.nanoseconds / 1_000_000) - now.seconds * 1000
        func padded(_ number: some BinaryInteger, _ width: Int) -> String {
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
        }
        let (month, day) = (padded(fields.tm_mon + 1, 2), padded(fields.tm_mday, 2))
        let time = [fields.tm_hour, fields.tm_min, fields.tm_sec].map { padded($0, 2) }.joined(separator: ":")
        return "\(padded(Int(fields.tm_year) + 1900, 4))-\(month)-\(day)T\(time).\(padded(milliseconds, 3))Z"
    }
}

/// One JSON object on one line, in the order of its `add`s. Source: RFC 8259 §7.
public struct JSONLine: CustomStringConvertible {
    enum Value {
        case text(String)
        case number(Int)
        case list([Value])
        case object([Member])
        case null

        static func optional(_ text: String?) -> Value { text.map(Value.text) ?? .null }

        var description: String {
            switch self {
            case .text(let text): JSONLine.quoted(text)
            case .number(let number): String(number)
            case .list(let values): "[\(values.map(\.description).joined(separator: ","))]"
            case .object(let members): "{\(members.map(\.description).joined(separator: ","))}"
            case .null: "null"
            }
        }
    }

    struct Member {
        let key: String
        let value: Value

        init(_ key: String, _ value: Value) { (self.key, self.value) = (key, value) }
        var description: String { "\(JSONLine.quoted(key)):\(value.description)" }
    }

    private var members: [Member] = []

    mutating func add(_ key: String, _ value: Value) { add(Member(key, value)) }
    mutating func add(_ member: Member) { members.append(member) }

    public var description: String { Value.object(members).description }

    /// The object, its member `text` cut until it has room.
    /// - Parameter octets: more than all the others take.
    func text(within octets: Int) -> String {
        let whole = description
        guard whole.utf8.count > octets, let index = members.firstIndex(where: { $0.key == "text" }),
            case .text(let text) = members[index].value
        else { return whole }
        let room = octets - (whole.utf8.count - Self.quoted(text).utf8.count)
        var line = self
        line.members[index] = Member("text", .text(Self.cut(text, quotedWithin: room)))
        return line.description
    }

    /// - Parameter octets: of the text with its quotation marks and escapes.
    private static func cut(_ text: String, quotedWithin octets: Int) -> String {
        var kept = ""
        var count = "\"...\"".utf8.count
        for scalar in text.unicodeScalars {
            count += quoted(String(scalar)).utf8.count - 2
            guard count <= octets else { break }
            kept.unicodeScalars.append(scalar)
        }
        return kept + "..."
    }

    /// RFC 8259 §7: quotation mark, reverse solidus and U+0000 to U+001F must be escaped; DEL and U+2028/9 are too,
    /// since some readers take them for line ends or worse.
    public static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case "\r": quoted += "\\r"
            case "\t": quoted += "\\t"
            case "\u{0}"..."\u{1F}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
