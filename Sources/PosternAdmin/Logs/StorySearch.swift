// Looks for a message in logs: its lines by queue id, those of messages that came of it, and then what was asked and
// answered before it had one. The log is read several times rather than kept: it may be larger than memory, and what to
// look for is known only once the later lines were seen.

internal import PosternMail

struct StorySearch {
    let reader: LogReader
    /// Queue ids that are looked for.
    private(set) var ids: [[UInt8]] = []
    var notes: [String] = []
    /// A cap was met: there is more in the logs.
    private(set) var isCut = false

    /// Most queue ids that are followed: of one message id, of notifications, of a filter that gave it back.
    static let maxIDs = 64
    /// Most lines that are kept.
    static let maxEvents = 10_000
    /// How often lines are read again since another queue id was found in them.
    private static let maxRounds = 4

    init(_ reader: LogReader) { self.reader = reader }

    // MARK: What to look for

    mutating func look(forQueueID id: String) { ids.append(Array(id.utf8)) }

    /// All messages of a Message-ID.
    /// - Parameter text: with or without its angle brackets.
    mutating func look(forMessageID text: String) throws(CommandFailure) {
        let bare = text.hasPrefix("<") && text.hasSuffix(">") ? String(text.dropFirst().dropLast()) : text
        let wanted = Array("<\(bare)>".utf8)[...]
        var found: [[UInt8]] = []
        let reading = try reader.read { line, time in
            guard let line = PostfixLine(line), let id = line.queueID, line.messageID == wanted, reader.wants(time())
            else { return }
            if !found.contains(where: { $0[...] == id }) { found.append(Array(id)) }
        }
        notes = reading.notes
        isCut = found.count > Self.maxIDs
        ids += found.prefix(Self.maxIDs)
    }

    // MARK: Its own lines

    /// The messages of the queue ids, in time order, each with all of its lines.
    mutating func stories() throws(CommandFailure) -> [MessageStory] {
        guard !ids.isEmpty else { return [] }
        var events: [StoryEvent] = []
        for _ in 0..<Self.maxRounds {
            let known = ids.count
            events = try ownEvents()
            if ids.count == known { break }
        }
        var stories: [MessageStory] = []
        for id in ids { stories += Self.stories(of: id, events.filter { $0.queueID == id }) }
        stories.sort { ($0.firstTime ?? UnixTime(nanoseconds: 0)) < ($1.firstTime ?? UnixTime(nanoseconds: 0)) }
        if !stories.isEmpty { try addBefore(&stories) }
        for place in stories.indices { stories[place].events = Self.sorted(stories[place].events) }
        return stories
    }

    private mutating func ownEvents() throws(CommandFailure) -> [StoryEvent] {
        var (events, found, wasCut) = ([StoryEvent](), [[UInt8]](), false)
        var sequence = 0
        let reading = try reader.read { line, time in
            sequence += 1
            guard var event = ownEvent(line) else { return }
            event.time = time() ?? event.time
            guard reader.wants(event.time) else { return }
            guard events.count < Self.maxEvents else {
                wasCut = true
                return
            }
            event.sequence = sequence
            events.append(event)
            if let id = event.postfixLine?.related, !found.contains(where: { $0[...] == id }) {
                found.append(Array(id))
            }
        }
        notes = reading.notes
        if wasCut { isCut = true }
        for id in found where !ids.contains(id) && ids.count < Self.maxIDs { ids.append(id) }
        return events
    }

    /// The line, if its head has one of the queue ids, or it warns and names one.
    private func ownEvent(_ line: LogLine) -> StoryEvent? {
        if let posterns = PosternLine(line) {
            guard let id = posterns.outcome?.queueID.flatMap(known) ?? named(in: posterns) else { return nil }
            return StoryEvent(line, posterns, .message, id)
        }
        guard let postfixes = PostfixLine(line) else { return nil }
        guard let id = postfixes.queueID.flatMap(known) ?? (postfixes.isTrouble ? named(postfixes.text) : nil) else {
            return nil
        }
        return StoryEvent(line, postfixes, .message, id)
    }

    private func known(_ id: ArraySlice<UInt8>) -> [UInt8]? { ids.first { $0[...] == id } }

    private func named(in line: PosternLine) -> [UInt8]? { line.outcome == nil ? named(line.text) : nil }

    private func named(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        ids.first { id in
            text.split(whereSeparator: { !$0.isASCIILetter && !$0.isASCIIDigit }).contains { $0 == id[...] }
        }
    }

    /// The messages that had one queue id, one after another.
    private static func stories(of id: [UInt8], _ events: [StoryEvent]) -> [MessageStory] {
        var stories: [MessageStory] = []
        for event in sorted(events) {
            let isNext = stories.last.map { $0.isRemoved && MessageStory.begins(event) } ?? true
            if isNext { stories.append(MessageStory(queueID: id)) }
            stories[stories.count - 1].add(event)
        }
        return stories
    }

    /// By time. Of several logs whole seconds count, since not every log has more.
    static func sorted(_ events: [StoryEvent]) -> [StoryEvent] {
        let isOneLog = Set(events.map(\.program)).count <= 1 || Set(events.map(\.source)).count <= 1
        func key(_ event: StoryEvent) -> (Int64, Int, Int) {
            let time = event.time ?? UnixTime(nanoseconds: 0)
            return isOneLog
                ? (time.nanoseconds, 0, event.sequence) : (time.seconds, event.rank, event.sequence)
        }
        return events.sorted { key($0) < key($1) }
    }
}

extension StoryEvent {
    init(_ line: LogLine, _ posterns: PosternLine, _ part: Part, _ id: [UInt8]?) {
        self.init(
            part: part, time: posterns.time, source: line.source, sequence: 0,
            program: Array(posterns.daemon.rawValue.utf8),
            pid: Array(posterns.pid), queueID: id, text: Array(line.message), rank: Self.rank(posterns))
    }

    init(_ line: LogLine, _ postfixes: PostfixLine, _ part: Part, _ id: [UInt8]?) {
        self.init(
            part: part, time: nil, source: line.source, sequence: 0, program: Array(line.program), pid: Array(line.pid),
            queueID: id, text: Array(postfixes.text), rank: Self.rank(postfixes))
    }
}
