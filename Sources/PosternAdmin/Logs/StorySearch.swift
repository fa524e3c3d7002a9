// Looks for a message in logs: its lines by queue id, those of messages that came of it, and then what was asked and
// answered before it had one. The log is read several times rather than kept: it may be larger than memory, and what to
// look for is known only once the later lines were seen.

internal import PosternMail

struct StorySearch {
    let reader: LogReader
    /// Queue ids that are looked for: those that were asked for, and those that were found in their lines.
    private(set) var ids: [[UInt8]] = []
    /// The Message-ID that was asked for, with its brackets.
    private var messageID: [UInt8]?
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
        messageID = Array(wanted)
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
        let asked = ids
        var events: [StoryEvent] = []
        for _ in 0..<Self.maxRounds {
            let known = ids.count
            events = try ownEvents()
            if ids.count == known { break }
        }
        let all = ids.flatMap { id in StoryThreads.stories(of: id, events.filter { $0.queueID == id }) }
        var stories = StoryThreads(all).connected { story in
            guard let messageID else { return asked.contains(story.queueID) }
            return story.events.contains { $0.postfixLine?.messageID == messageID[...] }
        }
        stories.sort { ($0.firstTime ?? UnixTime(nanoseconds: 0)) < ($1.firstTime ?? UnixTime(nanoseconds: 0)) }
        if !stories.isEmpty { try addBefore(&stories) }
        for place in stories.indices { stories[place].events = StoryThreads.sorted(stories[place].events) }
        return stories
    }

    private mutating func ownEvents() throws(CommandFailure) -> [StoryEvent] {
        var (events, found, wasCut) = ([StoryEvent](), [[UInt8]](), false)
        var sequence = 0
        let reading = try reader.read { line, time in
            sequence += 1
            guard var event = ownEvent(line) else {
                guard let id = successor(line), !found.contains(where: { $0[...] == id }), reader.wants(time()) else {
                    return
                }
                found.append(Array(id))
                return
            }
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

    /// Of a line that says so, the queue id under which a message that is looked for came again.
    private func successor(_ line: LogLine) -> ArraySlice<UInt8>? {
        guard let line = PostfixLine(line), let origin = line.origin, known(origin) != nil else { return nil }
        return line.queueID
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
