// What the logs say of one message, in time order: who said it, and what came of it.

internal import PosternMail

/// One line about a message.
struct StoryEvent: Equatable {
    /// Where in the message's life it stands.
    enum Part: String {
        /// A try of the same sender to the same recipient that was refused.
        case earlier
        /// What was asked and answered in the same session, before the message had a queue id.
        case before
        case message
    }

    var part: Part
    var time: UnixTime?
    /// Which of the logs, and which line of all: the order in which they were read.
    var source: Int
    var sequence: Int
    var program: [UInt8]
    var pid: [UInt8]
    /// Of the line's head; nil for `NOQUEUE` and where there is none.
    var queueID: [UInt8]?
    /// Behind the queue id.
    var text: [UInt8]
    /// Which comes first of lines of one second in different logs.
    var rank: Int
}

struct MessageStory {
    struct Recipient: Equatable {
        var address: [UInt8]
        /// `sent`, `deferred`, `bounced` ...: the last word.
        var status: [UInt8]
        var relay: [UInt8]
        var reason: [UInt8]
        var time: UnixTime?
        /// Tries so far.
        var tries: Int
    }

    var queueID: [UInt8]
    var clientName: [UInt8]?
    var clientAddress: [UInt8]?
    var login: [UInt8]?
    var sender: [UInt8]?
    var messageID: [UInt8]?
    var size: Int?
    var recipients: [Recipient] = []
    /// The queue manager is done with it.
    var isRemoved = false
    var events: [StoryEvent] = []
    /// The smtpd(8) that took it in.
    var session: (program: [UInt8], pid: [UInt8])?
    /// Its line about that.
    var taken: StoryEvent?
    /// The line with which smtpd(8) or pickup(8) had it.
    private var arrival: StoryEvent?
    /// Recipients as the client named them: aliases stand behind some.
    var named: Set<[UInt8]> = []

    /// Most recipients that are kept.
    private static let maxRecipients = 1000

    init(queueID: [UInt8]) { self.queueID = queueID }

    var firstTime: UnixTime? { events.lazy.compactMap(\.time).min() }
    var lastTime: UnixTime? { events.lazy.compactMap(\.time).max() }

    /// Takes an event and what it tells of the message.
    mutating func add(_ event: StoryEvent) {
        events.append(event)
        guard let line = event.postfixLine else {
            learn(event.posternLine)
            return
        }
        if event.isArrival { arrival = event }
        if let client = line.client {
            (clientName, clientAddress) = (Array(client.name), Array(client.address))
            login = line.login.map { Array($0) }
            session = (event.program, event.pid)
            taken = event
        } else if let id = line.messageID, messageID == nil {
            messageID = Array(id)
        } else if line.service.equals("postsuper") {
            if line.text.equals("removed") || line.text.equals("requeued") { isRemoved = true }
        } else if line.service.equals("qmgr") || line.service.equals("pickup") {
            if line.text.equals("removed") { isRemoved = true }
            if let sender = line.sender { self.sender = Array(sender) }
            if let size = line.size { self.size = size }
        } else if let delivery = Delivery(line) {
            learn(delivery, event.time)
        } else if let refusal = PostfixRefusal(line) {
            // A message that is refused at its end never meets the queue manager.
            if sender == nil { sender = refusal.sender.map { Array($0) } }
            if let recipient = refusal.recipient { named.insert(recipient.asciiLowercased) }
            if let recipient = refusal.recipient, !recipients.contains(where: { $0.address[...] == recipient }) {
                learn(recipient, status: refusal.action, relay: [], reason: refusal.reason, event.time)
            }
        }
    }

    private mutating func learn(_ line: PosternLine?) {
        guard let outcome = line?.outcome else { return }
        if clientAddress == nil {
            (clientName, clientAddress) = (Array(outcome.clientName), Array(outcome.clientAddress))
        }
        if sender == nil { sender = outcome.sender.map { Array($0) } }
    }

    private mutating func learn(_ delivery: Delivery, _ time: UnixTime?) {
        if named.count < Self.maxRecipients { named.insert((delivery.original ?? delivery.recipient).asciiLowercased) }
        learn(delivery.recipient, status: delivery.status, relay: delivery.relay, reason: delivery.reason, time)
    }

    private mutating func learn(
        _ address: ArraySlice<UInt8>, status: ArraySlice<UInt8>, relay: ArraySlice<UInt8>, reason: ArraySlice<UInt8>,
        _ time: UnixTime?
    ) {
        if let place = recipients.firstIndex(where: { $0.address[...] == address }) {
            recipients[place].status = Array(status)
            recipients[place].relay = Array(relay)
            recipients[place].reason = Array(reason)
            recipients[place].time = time
            recipients[place].tries += 1
        } else if recipients.count < Self.maxRecipients {
            recipients.append(
                Recipient(
                    address: Array(address), status: Array(status), relay: Array(relay), reason: Array(reason),
                    time: time, tries: 1))
        }
    }

    /// How much later than the others the first line may stand, where several programs write it.
    private static let slack = Duration.seconds(2)

    /// Whether a line with the same queue id is about this message, and not about the next one that got it: a short
    /// queue id is an inode and microseconds, and comes again as soon as the message is gone, be it delivered, refused at
    /// its end or never sent whole. Only of the first way a line tells.
    func isContinued(by event: StoryEvent) -> Bool {
        guard event.isArrival else {
            // Notifications and what aliases forward have no arrival: these are their first lines.
            return !(isRemoved && event.isHead)
        }
        if let arrival { return event.isCopy(of: arrival) }
        guard !isRemoved, let last = lastTime, let time = event.time else { return !isRemoved }
        return time <= last + Self.slack
    }
}

extension StoryEvent {
    private var line: LogLine {
        LogLine(stamp: .none, program: program[...], pid: pid[...], message: text[...])
    }

    /// The line as Postfix's, its queue id put back.
    var postfixLine: PostfixLine? {
        guard let queueID, var found = PostfixLine(line) else { return nil }
        found.queueID = queueID[...]
        found.isOfMail = true
        return found
    }

    /// The line as ours; text and JSON alike are kept whole.
    var posternLine: PosternLine? { PosternLine(line) }

    /// smtpd(8) or pickup(8) has a message, and this is its queue id.
    fileprivate var isArrival: Bool {
        guard let line = postfixLine else { return false }
        return line.client != nil || line.service.equals("pickup") && line.text.begins(with: "uid=")
    }

    /// What cleanup(8) and qmgr(8) say of a message first.
    fileprivate var isHead: Bool {
        guard let line = postfixLine else { return false }
        return line.messageID != nil || line.service.equals("qmgr") && line.sender != nil
    }

    /// The same line from another log.
    fileprivate func isCopy(of other: StoryEvent) -> Bool {
        source != other.source && text == other.text && pid == other.pid && time?.seconds == other.time?.seconds
    }

    /// What is shown of it: of ours without the words that are the same in all of a message's lines.
    var shown: String {
        guard let line = posternLine, let outcome = line.outcome else { return text[...].shown }
        var told = "\(outcome.action.shown): \(outcome.stage.shown) from \(outcome.clientName.shown)"
        told += "[\(outcome.clientAddress.shown)]: \(line.text.shown)"
        var facts: [String] = []
        if let sender = outcome.sender { facts.append("from=<\(sender.shown)>") }
        if let recipient = outcome.recipient { facts.append("to=<\(recipient.shown)>") }
        if let helo = outcome.helo { facts.append("helo=<\(helo.shown)>") }
        return facts.isEmpty ? told : "\(told); \(facts.joined(separator: " "))"
    }

    /// Lines of one second from several logs are shown in the order in which a message meets their programs.
    static func rank(_ line: PostfixLine) -> Int {
        if line.service.equals("smtpd") {
            if line.connection != nil { return 0 }
            if line.client != nil { return 3 }
            return line.text.begins(with: "disconnect ") ? 13 : 2
        }
        if line.service.equals("pickup") { return 3 }
        if line.service.equals("cleanup") { return line.messageID != nil ? 5 : 8 }
        if line.service.equals("qmgr") { return line.text.equals("removed") ? 12 : 9 }
        return line.service.equals("bounce") ? 11 : 10
    }

    static func rank(_ line: PosternLine) -> Int {
        switch line.daemon {
        case .policy, .rate:
            guard let outcome = line.outcome else { return 1 }
            return outcome.stage.equals("END-OF-MESSAGE") ? 7 : outcome.queueID == nil ? 1 : 4
        case .dkim, .dmarc: return 6
        case .dns: return 1
        }
    }
}
