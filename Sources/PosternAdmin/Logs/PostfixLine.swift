// What Postfix's own programs say of connections and messages. Which words come in which order is not documented: it is
// what smtpd(8), cleanup(8), qmgr(8) and the delivery agents write (Postfix 3.7 to 3.11). A value that a stranger chose
// (an address, a HELO name) may look like the words behind it; therefore each is looked for from the side where nothing
// of a stranger's comes before it.

internal import PosternMail

struct PostfixLine {
    /// `smtpd`, `cleanup`, `qmgr` ...: the program's name without `postfix/` and a service's name.
    var service: ArraySlice<UInt8>
    /// nil for `NOQUEUE`, and where a line is about no message.
    var queueID: ArraySlice<UInt8>?
    /// The line said `NOQUEUE` or a queue id.
    var isOfMail: Bool
    /// What stands behind the queue id.
    var text: ArraySlice<UInt8>

    /// - Returns: nil for a line of another program.
    init?(_ line: LogLine) {
        // syslog_name may be anything; a slash is before the program's name always (postconf(5), syslog_name).
        guard let slash = line.program.lastIndex(of: UInt8(ascii: "/")) else { return nil }
        service = line.program[(slash + 1)...]
        text = line.message
        (queueID, isOfMail) = QueueID.take(&text)
    }

    /// `warning: `, `error: `, `fatal: ` or `panic: `.
    var isTrouble: Bool {
        text.begins(with: "warning: ") || text.begins(with: "error: ") || text.begins(with: "fatal: ")
            || text.begins(with: "panic: ")
    }

    // MARK: The words of a line

    /// `client=name[address]`, the line with which smtpd(8) takes a message in.
    var client: ClientText? {
        var rest = text
        guard rest.take("client=") else { return nil }
        return ClientText(rest)
    }

    /// `connect from name[address]`.
    var connection: ClientText? {
        var rest = text
        guard rest.take("connect from ") else { return nil }
        return ClientText(rest)
    }

    /// The login of a `client=` line. It is the last value there that a stranger chooses.
    var login: ArraySlice<UInt8>? { text.parted(at: ", sasl_username=").map { $0.after.upTo(", sasl_sender=") } }

    /// The id of `message-id=<...>`, with its brackets.
    var messageID: ArraySlice<UInt8>? {
        var rest = text
        return rest.take("message-id=") ? rest : nil
    }

    /// `from=<...>` at the head of a line of qmgr(8) or pickup(8)'s end.
    var sender: ArraySlice<UInt8>? {
        var rest = text
        guard rest.take("from=") else { return nil }
        return rest.inAngleBrackets
    }

    /// `size=` of qmgr(8)'s line.
    var size: Int? {
        guard let sender, var rest = behind(sender, ">, size=") else { return nil }
        return rest.takeNumber()
    }

    private func behind(_ value: ArraySlice<UInt8>, _ words: StaticString) -> ArraySlice<UInt8>? {
        var rest = text[value.endIndex...]
        return rest.take(words) ? rest : nil
    }

    /// The queue id of a notification that bounce(8) has made of this message, of a message that was sent back to us by
    /// a filter on this host, or that this one was before.
    var related: ArraySlice<UInt8>? {
        if let (_, after) = text.parted(at: " notification: "), service.equals("bounce") { return id(after) }
        if let origin { return origin }
        guard let delivery = Delivery(self), delivery.isSent,
            delivery.relay.contains("[127.")
                || delivery.relay.contains("[::1]")
        else { return nil }
        return delivery.reason.parted(at: "queued as ").flatMap { id($0.after) }
    }

    /// The queue id that the message had before: a filter gave it back (`orig_queue_id=` by XFORWARD), or postsuper(1)
    /// had it taken in anew (`orig_id=`, the last word of pickup(8)'s line).
    var origin: ArraySlice<UInt8>? {
        if client != nil { return text.parted(at: ", orig_queue_id=").flatMap { id($0.after) } }
        guard service.equals("pickup"), let last = text.lastIndex(of: 0x20) else { return nil }
        var word = text[(last + 1)...]
        return word.take("orig_id=") ? id(word) : nil
    }

    private func id(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        let word = text.prefix { $0.isASCIILetter || $0.isASCIIDigit }
        return QueueID.isOne(word) ? word : nil
    }
}

extension ArraySlice<UInt8> {
    /// What stands before `words`; all of it where they are not there.
    func upTo(_ words: StaticString) -> ArraySlice<UInt8> { place(of: words).map { self[..<$0] } ?? self }
}

/// What became of one recipient: `to=<...>, orig_to=<...>, relay=..., delay=..., dsn=..., status=sent (...)`.
struct Delivery {
    var recipient: ArraySlice<UInt8>
    /// What the client had said, where an alias stands behind it.
    var original: ArraySlice<UInt8>?
    var relay: ArraySlice<UInt8>
    /// Seconds since the message came, as Postfix writes them: `0.12`.
    var delay: ArraySlice<UInt8>
    var status: ArraySlice<UInt8>
    /// What the other side said, or why there was no other side.
    var reason: ArraySlice<UInt8>

    init?(_ line: PostfixLine) {
        var rest = line.text
        guard line.queueID != nil, rest.take("to="), let recipient = rest.inAngleBrackets else { return nil }
        self.recipient = recipient
        rest = rest[recipient.endIndex...]
        guard rest.take(">, ") else { return nil }
        if rest.take("orig_to=") {
            original = rest.inAngleBrackets
            guard let original else { return nil }
            rest = rest[original.endIndex...]
            guard rest.take(">, ") else { return nil }
        }
        guard rest.take("relay="), let (relay, afterRelay) = rest.parted(at: ", "),
            let (middle, after) = afterRelay.parted(at: "status=")
        else { return nil }
        self.relay = relay
        delay = middle.parted(at: "delay=").map { $0.after.upTo(",") } ?? []
        status = after.firstWord
        var reason = after.dropFirst(status.count + 1)
        if reason.take("("), reason.last == UInt8(ascii: ")") { reason = reason.dropLast() }
        self.reason = reason
    }

    var isSent: Bool { status.equals("sent") }
}

/// What smtpd(8) or cleanup(8) refused, held or would have refused: `reject: RCPT from name[address]: 554 5.7.1 ...;
/// from=<> to=<> proto=ESMTP helo=<...>`.
struct PostfixRefusal {
    /// `reject`, `milter-reject`, `reject_warning`, `hold` ...
    var action: ArraySlice<UInt8>
    /// `RCPT`, `END-OF-MESSAGE`; `header Subject: ...` for header checks.
    var stage: ArraySlice<UInt8>
    var client: ClientText
    /// 450, 554; nil where Postfix does not say.
    var code: Int?
    /// `5.7.1`; empty where there is none.
    var enhanced: ArraySlice<UInt8>
    /// Without codes and the tail.
    var reason: ArraySlice<UInt8>
    var sender: ArraySlice<UInt8>?
    var recipient: ArraySlice<UInt8>?
    var helo: ArraySlice<UInt8>?

    init?(_ line: PostfixLine) {
        guard line.isOfMail, line.service.equals("smtpd") || line.service.equals("cleanup"),
            let (action, after) = line.text.parted(at: ": "), Self.isKnown(action),
            let (stage, from) = after.parted(at: " from "), let client = ClientText(from)
        else { return nil }
        (self.action, self.stage, self.client) = (action, stage, client)
        var rest = client.rest
        guard rest.take(": ") else { return nil }
        let (text, tail) = rest.parted(at: "; from=<").map { ($0.before, Optional($0.after)) } ?? (rest, nil)
        rest = text
        var number = rest
        code = number.takeNumber(digits: 3)
        if code != nil, number.take(" ") {
            rest = number
        } else {
            code = nil  // of cleanup(8) and of milters' replies only the enhanced code is told
        }
        enhanced = rest.prefix { $0.isASCIIDigit || $0 == UInt8(ascii: ".") }
        if enhanced.count >= 5, rest.dropFirst(enhanced.count).first == 0x20 {
            rest = rest.dropFirst(enhanced.count + 1)
        } else {
            enhanced = []
        }
        reason = rest
        guard let tail else { return }
        // The bracket that opens `from=` was the end of the mark.
        sender = line.text[(tail.startIndex - 1)...].inAngleBrackets
        var facts = sender.map { tail[$0.endIndex...] } ?? []
        if facts.take("> to=") {
            recipient = facts.inAngleBrackets
            facts = recipient.map { facts[$0.endIndex...] } ?? []
        }
        helo = facts.parted(at: " helo=<").map { $0.after.last == UInt8(ascii: ">") ? $0.after.dropLast() : $0.after }
    }

    private static func isKnown(_ action: ArraySlice<UInt8>) -> Bool {
        action.equals("reject") || action.equals("milter-reject") || action.equals("reject_warning")
            || action.equals("hold") || action.equals("milter-hold") || action.equals("discard")
            || action.equals("milter-discard") || action.equals("filter") || action.equals("redirect")
            || action.equals("warn")
    }

    /// The client was told no: for good, or for now.
    var isRefusal: Bool { action.equals("reject") || action.equals("milter-reject") }

    /// 4.x.x and 4xx: the client may come again.
    var isForNow: Bool {
        if let code { return code < 500 }
        return enhanced.first == UInt8(ascii: "4")
    }
}
