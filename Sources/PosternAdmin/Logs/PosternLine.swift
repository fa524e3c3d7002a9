// What a Postern daemon says: the outcome of one transaction, or a note, as text in Postfix's grammar or as a JSON
// object (log.format). Both forms are read into the same parts. In the text form the tail (`; from=<> to=<> proto=
// helo=<>`) is read from the end of the line: its values hold no angle brackets (CONVENTIONS, log lines), so that
// nothing before it can pass for it.

internal import PosternDaemon
internal import PosternMail

struct PosternLine {
    var daemon: DaemonName
    /// nil for an info line and an outcome, which have no word before them.
    var trouble: LogLevel?
    /// nil where the line is a note.
    var outcome: Outcome?
    /// Of a note; of an outcome the same as its text.
    var text: ArraySlice<UInt8>
    /// Of a JSON object that says so itself.
    var time: UnixTime?
    var pid: ArraySlice<UInt8>

    struct Outcome {
        /// nil for `NOQUEUE`.
        var queueID: ArraySlice<UInt8>?
        var action: ArraySlice<UInt8>
        var stage: ArraySlice<UInt8>
        var clientName: ArraySlice<UInt8>
        var clientAddress: ArraySlice<UInt8>
        var sender: ArraySlice<UInt8>?
        var recipient: ArraySlice<UInt8>?
        var helo: ArraySlice<UInt8>?
    }

    /// - Returns: nil for a line of another program.
    init?(_ line: LogLine) {
        if line.message.first == UInt8(ascii: "{") {
            guard line.program.isEmpty || line.program.begins(with: "postern-") else { return nil }
            self.init(json: line.message)
        } else {
            self.init(text: line)
        }
    }

    private init?(text line: LogLine) {
        guard let daemon = Self.daemon(line.program) else { return nil }
        self.daemon = daemon
        pid = line.pid
        var rest = line.message
        guard let outcome = Self.outcome(&rest) else {
            trouble = Self.trouble(&rest)
            text = rest
            return
        }
        self.outcome = outcome
        text = rest
    }

    private static func daemon(_ name: ArraySlice<UInt8>) -> DaemonName? {
        var rest = name
        guard rest.take("postern-") else { return nil }
        if rest.equals("dkim") { return .dkim }
        if rest.equals("dmarc") { return .dmarc }
        if rest.equals("policy") { return .policy }
        if rest.equals("rate") { return .rate }
        if rest.equals("dns") { return .dns }
        return nil
    }

    // MARK: Text

    private static func trouble(_ rest: inout ArraySlice<UInt8>) -> LogLevel? {
        if rest.take("warning: ") { return .warning }
        if rest.take("error: ") { return .error }
        return rest.take("critical: ") ? .critical : nil
    }

    /// Takes all of an outcome but its text.
    private static func outcome(_ line: inout ArraySlice<UInt8>) -> Outcome? {
        var rest = line
        let (queueID, isOfMail) = queueID(&rest)
        guard isOfMail, let (action, afterAction) = rest.parted(at: ": "), isWord(action),
            let (stage, from) = afterAction.parted(at: " from "), isWord(stage), let client = ClientText(from)
        else { return nil }
        rest = client.rest
        guard rest.take(": ") else { return nil }
        var outcome = Outcome(
            queueID: queueID, action: action, stage: stage, clientName: client.name, clientAddress: client.address)
        takeTail(&rest, &outcome)
        line = rest
        return outcome
    }

    /// Ours are letters and digits, as postern-policy takes them over from Postfix.
    private static func queueID(_ rest: inout ArraySlice<UInt8>) -> (ArraySlice<UInt8>?, Bool) {
        if rest.take("NOQUEUE: ") { return (nil, true) }
        guard let (id, after) = rest.parted(at: ": "), (1...64).contains(id.count),
            id.allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit })
        else { return (nil, false) }
        if id.equals("warning") || id.equals("error") || id.equals("critical") || id.equals("debug") {
            return (nil, false)
        }
        rest = after
        return (id, true)
    }

    /// Longest action or stage, in octets.
    private static let maxWordOctets = 64

    /// `END-OF-MESSAGE`, `greylist`.
    private static func isWord(_ word: ArraySlice<UInt8>) -> Bool {
        (1...maxWordOctets).contains(word.count)
            && word.allSatisfy { $0.isASCIILetter || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
    }

    private static func takeTail(_ rest: inout ArraySlice<UInt8>, _ outcome: inout Outcome) {
        var left = rest
        outcome.helo = takeLast("helo=<", &left)
        if let equals = left.lastIndex(of: UInt8(ascii: "=")), left[..<equals].ends(with: "proto"),
            left[equals...].dropFirst().allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit })
        {
            left = left[..<(equals - 5)]
            if left.last == 0x20 { left = left.dropLast() }
        }
        outcome.recipient = takeLast("to=<", &left)
        outcome.sender = takeLast("from=<", &left)
        guard left.last == UInt8(ascii: ";"), left.count < rest.count else {
            // No tail: what looked like a part of one belongs to the text.
            (outcome.helo, outcome.recipient, outcome.sender) = (nil, nil, nil)
            return
        }
        rest = left.dropLast()
    }

    /// Takes `NAME<...>` from the end, and the space before it.
    private static func takeLast(_ name: StaticString, _ rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard rest.last == UInt8(ascii: ">"), let open = rest.lastIndex(of: UInt8(ascii: "<")),
            rest[...open].ends(with: name)
        else { return nil }
        let value = rest[(open + 1)...].dropLast()
        guard !value.contains(UInt8(ascii: ">")) else { return nil }  // ours escape them
        rest = rest[..<(open + 1 - name.utf8CodeUnitCount)]
        if rest.last == 0x20 { rest = rest.dropLast() }
        return value
    }

    // MARK: JSON

    private init?(json: ArraySlice<UInt8>) {
        var daemon: DaemonName?
        var outcome = Outcome(action: [], stage: [], clientName: Self.unknown, clientAddress: Self.unknown)
        var (time, trouble, text): (UnixTime?, LogLevel?, ArraySlice<UInt8>) = (nil, nil, [])
        var pid: ArraySlice<UInt8> = []
        let isObject = FlatObject.read(json) { key, value in
            switch value {
            case .null, .nested: return
            case .word(let word): if key.equals("pid") { pid = word }
            case .text(let value):
                if key.equals("text") {
                    text = value
                } else if key.equals("time") {
                    var value = value
                    time = LogStamp.rfc3339(&value)
                } else if key.equals("program") {
                    daemon = Self.daemon(value)
                } else if key.equals("level") {
                    trouble = Self.level(value)
                } else {
                    outcome.take(key, value)
                }
            }
        }
        guard isObject, let daemon else { return nil }
        (self.daemon, self.time, self.trouble, self.text, self.pid) = (daemon, time, trouble, text, pid)
        if !outcome.action.isEmpty, !outcome.stage.isEmpty { self.outcome = outcome }
    }

    private static let unknown = Array("unknown".utf8)[...]

    private static func level(_ word: ArraySlice<UInt8>) -> LogLevel? {
        if word.equals("warning") { return .warning }
        if word.equals("error") { return .error }
        return word.equals("critical") ? .critical : nil
    }
}

extension PosternLine.Outcome {
    fileprivate init(
        action: ArraySlice<UInt8>, stage: ArraySlice<UInt8>, clientName: ArraySlice<UInt8>,
        clientAddress: ArraySlice<UInt8>
    ) {
        self.init(
            queueID: nil, action: action, stage: stage, clientName: clientName, clientAddress: clientAddress,
            sender: nil, recipient: nil, helo: nil)
    }

    fileprivate init(
        queueID: ArraySlice<UInt8>?, action: ArraySlice<UInt8>, stage: ArraySlice<UInt8>,
        clientName: ArraySlice<UInt8>, clientAddress: ArraySlice<UInt8>
    ) {
        self.init(action: action, stage: stage, clientName: clientName, clientAddress: clientAddress)
        self.queueID = queueID
    }

    /// A member of a JSON object.
    fileprivate mutating func take(_ key: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>) {
        if key.equals("queue_id") {
            queueID = value
        } else if key.equals("action") {
            action = value
        } else if key.equals("stage") {
            stage = value
        } else if key.equals("client_name") {
            clientName = value
        } else if key.equals("client_address") {
            clientAddress = value
        } else if key.equals("from") {
            sender = value
        } else if key.equals("to") {
            recipient = value
        } else if key.equals("helo") {
            helo = value
        }
    }
}
