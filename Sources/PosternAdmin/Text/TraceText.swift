// The way of one question through postern-dns, for people; the records are shown as those of any answer.

internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

struct TraceText {
    private let document: ControlDocument
    let question: Question
    let answer: Answer
    let links: [CNAMELink]

    /// - Parameter document: what postern-dns answered; taken as a stranger's.
    /// - Returns: nil for what is no trace.
    init?(_ document: ControlDocument) {
        guard let octets = document["message"]?.text.flatMap(Self.octets),
            let reply = try? ReplyMessage(octets), let question = reply.question  // what it is instead does not matter
        else { return nil }
        self.document = document
        self.question = question
        let resolution = Resolution(of: question, in: reply)
        answer = resolution.answer
        links = resolution.records.compactMap { record in
            guard case .cname(let target)? = try? record.data(), question.type != .cname else { return nil }
            return CNAMELink(owner: record.owner, target: target, ttl: record.ttl)
        }
    }

    /// Longest message in hexadecimal digits.
    private static let maxDigits = 2 * DNSCodec.maxMessageOctets

    private static func octets(_ text: String) -> [UInt8]? {
        guard text.utf8.count <= maxDigits, text.utf8.count.isMultiple(of: 2) else { return nil }
        var octets: [UInt8] = []
        var high: UInt8?
        for digit in text.utf8 {
            guard let value = Character(Unicode.Scalar(digit)).hexDigitValue else { return nil }
            if let first = high {
                octets.append(first << 4 | UInt8(value))
                high = nil
            } else {
                high = UInt8(value)
            }
        }
        return octets
    }

    // MARK: Text

    /// Each line with its line end; without the answer itself.
    var lines: String {
        var lines = ["; cache: \(cache)"]
        for step in document["steps"]?.elements.prefix(Self.maxSteps) ?? [] { lines.append("; \(Self.text(step))") }
        lines.append(
            "; \(rcode) from \(source) after \(Self.milliseconds(document["time_us"]))")
        return lines.map { DaemonControl.printable($0) + "\n" }.joined()
    }
    private static let maxSteps = 100

    private var rcode: String { document["rcode"]?.text ?? "an answer" }

    private var source: String {
        switch document["source"]?.text {
        case "static": "the static zone"
        case "cache": "the cache"
        case "stale": "the cache, no longer fresh, since no upstream had an answer"
        case "upstream": rcode == "SERVFAIL" ? "us: no upstream had an answer" : "upstream"
        default: "an unknown place"
        }
    }

    private var cache: String {
        guard let cache = document["cache"], let state = cache["state"]?.text else { return "unknown" }
        let left = Self.seconds(cache["left"])
        switch state {
        case "absent": return "nothing"
        case "fresh": return "an answer for \(left) more"
        case "cut": return "\(cache["by"]?.text ?? "a name above") does not exist, and nothing below it"
        case "failing":
            let stale = cache["stale"] == .boolean(true) ? ", and an answer that is no longer fresh" : ""
            return "upstreams failed a moment ago, and are not asked for \(left) more\(stale)"
        case "stale":
            return "an answer whose time is over since \(Self.seconds(cache["age"])); it may be used for \(left) more "
                + "if upstreams fail"
        case "expired": return "an answer whose time is over"
        default: return "unknown"
        }
    }

    private static func text(_ step: ControlDocument) -> String {
        let upstream = step["upstream"]?.text ?? "unknown"
        let event: String =
            switch step["event"]?.text {
            case "asked":
                "asked over \(step["over"]?.text == "tcp" ? "TCP" : "UDP")"
                    + (step["edns"] == .boolean(true) ? "" : ", without EDNS")
            case "answered": "answered in \(milliseconds(step["round_trip_us"]))"
            case "failed": step["reason"]?.text ?? "failed"
            case "ignored": "sent what was not the answer"
            default: "unknown"
            }
        return "\(milliseconds(step["time_us"])): \(upstream): \(event)"
    }

    private static func milliseconds(_ microseconds: ControlDocument?) -> String {
        StatisticsText.milliseconds(microseconds?.number ?? 0)
    }
    private static func seconds(_ seconds: ControlDocument?) -> String {
        StatusCommand.uptime(seconds?.number ?? 0)
    }

    // MARK: JSON

    /// What `dns query --json` says, with the trace behind it.
    var json: JSONValue {
        guard case .object(let members) = AnswerText.json(question, answer, links: links) else { return .null }
        let trace: JSONValue = .object(
            ["cache", "steps", "source", "time_us", "rcode"].map { key in
                JSONValue.Member(key: key, value: document[key].map(JSONValue.init) ?? .null)
            })
        return .object(members + [JSONValue.Member(key: "trace", value: trace)])
    }
}
