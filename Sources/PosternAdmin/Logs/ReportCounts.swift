// What a report counts, line by line, in a fixed room: however long the log, however many strangers and names are in
// it. Postfix's lines say what came, went and was refused; Postern's say why. One refusal of ours stands in both:
// Postfix repeats what it was told; therefore clients and senders are counted by Postfix's lines, verdicts by ours.

internal import PosternMail

struct ReportCounts {
    /// Of the lines that count.
    private(set) var first: UnixTime?
    private(set) var last: UnixTime?
    private(set) var postfixLines = 0
    private(set) var posternLines = 0

    // Postfix.
    var connections = 0
    /// Messages that cleanup(8) has taken in: from clients, from this host, notifications, what a filter brought back.
    var queued = 0
    var fromClients = 0
    var fromThisHost = 0
    /// Of those whose size qmgr(8) told.
    var octets = 0
    /// Recipients.
    var sent = 0
    var bounced = 0
    /// Tries that are to be repeated.
    var delayed = 0
    /// Messages that were given back after their last try.
    var expired = 0
    var refusedForGood = 0
    var refusedForNow = 0
    var heldOrDiscarded = 0
    var refusals = TopList()
    var refusedClients = TopList()
    var refusedSenders = TopList()
    var deferredClients = TopList()
    var undelivered = TopList()
    var senders = TopList()
    var accounts = TopList()
    var postfixLists = TopList(capacity: 200)
    var troubles = TopList(capacity: 500)

    // Postern.
    /// `daemon TAB action TAB reason`.
    var verdicts = TopList(capacity: 500)
    /// `method TAB result`.
    var results = TopList(capacity: 100)
    var posternRefusedClients = TopList()
    var lists = TopList(capacity: 200)
    var greylist = GreylistReturns()
    /// `limit TAB key`.
    var limitsOver = TopList(capacity: 500)
    var limitsNearing = TopList(capacity: 500)
    /// `domain TAB selector TAB algorithm`.
    var keys = TopList(capacity: 500)
    var series: TimeSeries

    private var unsized = RecentIDs()
    private var scratch: [UInt8] = []

    /// - Parameter offset: seconds east of Greenwich, for the bars of the chart.
    init(offset: Int64) { series = TimeSeries(offset: offset) }

    /// Counts one line, if it is Postfix's or ours and of a time that is wanted.
    /// - Parameter wants: whether a time is.
    mutating func take(_ line: LogLine, time: () -> UnixTime?, wants: (UnixTime?) -> Bool) {
        if let posterns = PosternLine(line) {
            let moment = time() ?? posterns.time
            guard wants(moment) else { return }
            posternLines += 1
            note(moment)
            take(posterns, moment)
        } else if let postfixes = PostfixLine(line) {
            let moment = time()
            guard wants(moment) else { return }
            postfixLines += 1
            note(moment)
            take(postfixes, line, moment)
        }
    }

    private mutating func note(_ time: UnixTime?) {
        guard let time else { return }
        if first.map({ time < $0 }) ?? true { first = time }
        if last.map({ time > $0 }) ?? true { last = time }
    }

    /// A key of several words.
    private mutating func withKey(
        _ words: ArraySlice<UInt8>..., body: (inout ReportCounts, ArraySlice<UInt8>) -> Void
    ) {
        var key = scratch
        scratch = []  // one owner, so that nothing is copied
        key.removeAll(keepingCapacity: true)
        for (index, word) in words.enumerated() {
            if index > 0 { key.append(0x09) }
            key += word
        }
        body(&self, key[...])
        scratch = key
    }
}

// MARK: Postfix

extension ReportCounts {
    private mutating func take(_ line: PostfixLine, _ whole: LogLine, _ time: UnixTime?) {
        if line.isTrouble {
            let (program, text) = (whole.program, PlainReason.of(line.text))
            withKey(program, text[...]) { $0.troubles.add($1, at: time) }
            return
        }
        guard line.isOfMail else {
            if line.connection != nil, line.service.equals("smtpd") { connections += 1 }
            if line.service.equals("dnsblog"), let (_, zone) = line.text.parted(at: " listed by domain ") {
                postfixLists.add(zone.firstWord)
            }
            return
        }
        if line.service.equals("smtpd"), line.client != nil {
            fromClients += 1
            if let login = line.login { accounts.add(login, at: time) }
        } else if line.service.equals("cleanup"), line.messageID != nil, let id = line.queueID {
            queued += 1
            unsized.insert(id)
            if let time { series.add(.queued, at: time) }
        } else if line.service.equals("pickup"), line.text.begins(with: "uid=") {
            fromThisHost += 1
        } else if line.service.equals("qmgr") {
            takeQueueManager(line)
        } else if let refusal = PostfixRefusal(line) {
            take(refusal, time)
        } else if let delivery = Delivery(line) {
            take(delivery)
        }
    }

    private mutating func takeQueueManager(_ line: PostfixLine) {
        guard let sender = line.sender, let id = line.queueID else { return }
        // A message that waits is told anew at each try: it counts once.
        if let size = line.size {
            guard unsized.remove(id) else { return }
            octets += size
            senders.add(sender.isEmpty ? Array("<>".utf8)[...] : sender)
        } else if line.text.contains(", status=expired") {
            expired += 1
        }
    }

    private mutating func take(_ refusal: PostfixRefusal, _ time: UnixTime?) {
        guard refusal.isRefusal else {
            if !refusal.action.equals("reject_warning"), !refusal.action.equals("warn") { heldOrDiscarded += 1 }
            return
        }
        let reason = PlainReason.of(refusal.reason)
        let code = refusal.code.map { Array("\($0) ".utf8) } ?? []
        withKey((code + refusal.enhanced)[...], reason[...]) { $0.refusals.add($1) }
        if let (_, zone) = refusal.reason.parted(at: " blocked using ") {
            postfixLists.add(zone.prefix { $0 != 0x20 && $0 != UInt8(ascii: ";") })
        }
        guard !refusal.isForNow else {
            refusedForNow += 1
            deferredClients.add(refusal.client.address, at: time)
            if let time { series.add(.deferred, at: time) }
            return
        }
        refusedForGood += 1
        refusedClients.add(refusal.client.address, at: time, detail: refusal.client.name)
        if let sender = refusal.sender { refusedSenders.add(sender.isEmpty ? Array("<>".utf8)[...] : sender) }
        if let time { series.add(.refused, at: time) }
    }

    private mutating func take(_ delivery: Delivery) {
        if delivery.isSent {
            sent += 1
            return
        }
        let isBounce = delivery.status.equals("bounced")
        guard isBounce || delivery.status.equals("deferred") else { return }
        if isBounce { bounced += 1 } else { delayed += 1 }
        let reason = PlainReason.of(delivery.reason)
        withKey(delivery.status, reason[...]) { $0.undelivered.add($1) }
    }
}

// MARK: Postern

extension ReportCounts {
    private mutating func take(_ line: PosternLine, _ time: UnixTime?) {
        guard let outcome = line.outcome else {
            guard line.trouble != nil else { return }
            if line.daemon == .rate, let event = LimitEventText(line.text) {
                withKey(event.limit, event.key) { counts, key in
                    if event.isOver {
                        counts.limitsOver.add(key, event.times, at: time, detail: event.use)
                    } else {
                        counts.limitsNearing.add(key, event.times, at: time, detail: event.use)
                    }
                }
            }
            let (program, text) = (Array(line.daemon.rawValue.utf8), PlainReason.of(line.text))
            withKey(program[...], text[...]) { $0.troubles.add($1, at: time) }
            return
        }
        let daemon = Array(line.daemon.rawValue.utf8)
        for verdict in VerdictReason.all(of: outcome, line) {
            withKey(daemon[...], verdict.action[...], verdict.reason[...]) { $0.verdicts.add($1) }
        }
        if outcome.action.equals("reject") { posternRefusedClients.add(outcome.clientAddress, at: time) }
        switch line.daemon {
        case .dmarc:
            if outcome.action.equals("quarantine") || outcome.action.equals("hold"), let time {
                series.add(.quarantined, at: time)
            }
            takeFindings(line.text)
        case .dkim:
            if outcome.action.equals("sign") { takeKeys(line.text, time) } else { takeFindings(line.text) }
        case .policy:
            takeLists(line.text)
            greylist.take(outcome.action, line.text)
        case .rate, .dns: break
        }
    }

    private mutating func takeFindings(_ text: ArraySlice<UInt8>) {
        let words = FindingWords(text)
        words.each("spf") { result, rest in
            // HELO's own result is not what mail is judged by.
            let item = rest.upTo(", spf=").upTo(", dkim=").upTo(", dmarc=")
            if !item.contains(" helo=") { addResult("spf", result) }
        }
        words.each("dkim") { result, _ in addResult("dkim", result) }
        // The first is of the author whose policy was applied.
        if let result = words.first("dmarc") { addResult("dmarc", result) }
    }

    private mutating func addResult(_ method: String, _ result: ArraySlice<UInt8>) {
        withKey(Array(method.utf8)[...], result) { $0.results.add($1) }
    }

    /// `d=example.com s=2026q4 a=rsa-sha256, d=...`.
    private mutating func takeKeys(_ text: ArraySlice<UInt8>, _ time: UnixTime?) {
        var rest = text
        for _ in 0..<100 {
            let (item, next) = rest.parted(at: ", ").map { ($0.before, Optional($0.after)) } ?? (rest, nil)
            if item.begins(with: "d=") {
                func value(_ name: StaticString) -> ArraySlice<UInt8> {
                    item.parted(at: name).map { $0.after.firstWord } ?? []
                }
                withKey(value("d="), value(" s="), value(" a=")) { $0.keys.add($1, at: time) }
            }
            guard let next else { return }
            rest = next
        }
    }

    /// `(dnsbl: score 6 (zen.spamhaus.org 4, bl.example.net 2, rules 0))`.
    private mutating func takeLists(_ text: ArraySlice<UInt8>) {
        guard let start = text.lastPlace(of: "(dnsbl: score "),
            let (_, scores) = text[start...].dropFirst().parted(at: UInt8(ascii: "("))
        else { return }
        var rest = scores.upTo(")")
        for _ in 0..<100 {
            let (item, next) = rest.parted(at: ", ").map { ($0.before, Optional($0.after)) } ?? (rest, nil)
            if let (zone, score) = item.parted(at: 0x20), !zone.equals("rules"), score.first != UInt8(ascii: "-") {
                lists.add(zone)
            }
            guard let next else { return }
            rest = next
        }
    }
}

/// `limit per account over: ann: 200 of 200 recipients in 3600s; account=<ann> clients=192.0.2.7`: postern-rate's
/// warning.
struct LimitEventText {
    var limit: ArraySlice<UInt8>
    var key: ArraySlice<UInt8>
    var use: ArraySlice<UInt8>
    var isOver: Bool
    /// It was told so many times.
    var times = 1

    init?(_ text: ArraySlice<UInt8>) {
        var rest = text
        if rest.take("repeated "), let number = rest.takeNumber(digits: 9) {
            guard rest.take(" times: ") else { return nil }
            times = max(1, number)
        }
        guard rest.take("limit ") else { return nil }
        let over = rest.place(of: " over: ")
        let nearing = rest.place(of: " nearly used up: ")
        guard let place = [over, nearing].compactMap({ $0 }).min() else { return nil }
        isOver = place == over
        limit = rest[..<place]
        // How much was used holds no colon; the key may.
        guard let (_, after) = rest[place...].parted(at: ": ") else { return nil }
        let told = after.upTo("; account=<")
        guard let colon = told.lastPlace(of: ": ") else { return nil }
        (key, use) = (told[..<colon], told[(colon + 2)...])
    }
}

/// What greylisting did, and after how long senders came back.
struct GreylistReturns: Equatable {
    var firstTries = 0
    var earlyTries = 0
    /// Senders that came back, each once.
    var cameBack = 0
    /// Mail of those who are known.
    var known = 0
    /// Of all waits, in seconds.
    var waited = 0
    /// Waits of at most so many seconds; the last one is of any.
    var delays = [Int](repeating: 0, count: GreylistReturns.bounds.count + 1)

    static let bounds = [300, 900, 3600, 14_400, 86_400]

    /// - Parameter text: of postern-policy.
    mutating func take(_ action: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) {
        guard let place = text.lastPlace(of: "(greylist: ") else { return }
        let reason = text[(place + 11)...]
        if reason.begins(with: "first try of ") {
            firstTries += 1
        } else if reason.begins(with: "too early of ") {
            earlyTries += 1
        } else if let (_, after) = reason.parted(at: ", after ") {
            var rest = after
            guard let seconds = rest.takeNumber() else { return }
            cameBack += 1
            waited += seconds
            delays[Self.bounds.firstIndex { seconds <= $0 } ?? Self.bounds.count] += 1
        } else if action.equals("pass") {
            known += 1
        }
    }
}

/// The last ids of very many, in a fixed room.
struct RecentIDs {
    /// How many are remembered.
    static let capacity = 1 << 16

    private var hashes = Set<Int>()
    private var order: [Int] = []
    private var next = 0

    private static func hash(_ id: ArraySlice<UInt8>) -> Int {
        var hasher = Hasher()
        id.withUnsafeBytes { hasher.combine(bytes: $0) }
        return hasher.finalize()
    }

    mutating func insert(_ id: ArraySlice<UInt8>) {
        let hash = Self.hash(id)
        guard hashes.insert(hash).inserted else { return }
        if order.count < Self.capacity {
            order.append(hash)
        } else {
            hashes.remove(order[next])
            order[next] = hash
            next = (next + 1) % Self.capacity
        }
    }

    /// - Returns: whether it was there.
    mutating func remove(_ id: ArraySlice<UInt8>) -> Bool { hashes.remove(Self.hash(id)) != nil }
}
