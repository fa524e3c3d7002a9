// The checks behind a message: what its session said before there was a queue id (policy requests, refused recipients),
// and tries of the same sender to the same recipient that were refused before (greylisting). Postfix tells a policy
// service no queue id at the first RCPT: lines without one are found by the smtpd process of the session, and by
// client, sender and recipient.

internal import PosternMail

extension StorySearch {
    /// How long before its first line a session may have begun: clocks of logs differ by a second.
    private static let slack = Duration.seconds(2)
    /// Longest time that is believed between RCPT and the queue id where the session's beginning is not known; Postfix
    /// gives up after 300 s without a word (smtpd_timeout).
    private static let maxSessionSeconds = 300
    /// Most lines of a session that are kept while it is not known whose it is.
    private static let maxSessionLines = 200

    mutating func addBefore(_ stories: inout [MessageStory]) throws(CommandFailure) {
        var collected = Before(stories.map { Wanted($0) })
        var sequence = 0
        let reading = try reader.read { line, time in
            sequence += 1
            collected.take(line, time, sequence, reader)
        }
        notes = reading.notes
        for (place, wanted) in zip(stories.indices, collected.wanted) { stories[place].events += wanted.kept }
    }

    /// What is looked for on behalf of one message.
    private struct Wanted {
        let queueID: [UInt8]
        let session: (program: [UInt8], pid: [UInt8])?
        let client: [UInt8]?
        let sender: [UInt8]?
        let recipients: Set<[UInt8]>
        let first: UnixTime?
        let last: UnixTime?
        let taken: StoryEvent?
        /// The line with which the session began, or had another message taken in.
        var begin: StoryEvent?
        /// Lines of the smtpd process since its last `connect`; nil once the message was taken in.
        var sessionLines: [StoryEvent]? = []
        var found: [StoryEvent] = []

        init(_ story: MessageStory) {
            queueID = story.queueID
            session = story.session
            client = story.clientAddress
            sender = story.sender
            recipients = story.named
            (first, last, taken) = (story.firstTime, story.lastTime, story.taken)
        }

        /// Whether a line without a queue id is of this message's session, or of an earlier try.
        func part(
            _ client: ArraySlice<UInt8>, _ sender: ArraySlice<UInt8>?, _ recipient: ArraySlice<UInt8>?,
            _ time: UnixTime?,
            isRefusal: Bool
        ) -> StoryEvent.Part? {
            guard let wanted = self.sender, let sender, wanted[...] == sender else { return nil }
            let isSameClient = self.client.map { $0[...] == client } ?? false
            let isKnown = recipient.map { recipients.contains($0.asciiLowercased) } ?? true
            guard let time, let first, let last else { return isSameClient && isKnown ? .before : nil }
            // In the session every recipient of this sender is of this message: Postfix tells the queue id only after
            // the first that it accepts.
            if isSameClient, time <= (taken?.time ?? last) + StorySearch.slack,
                !isRefusal || time + StorySearch.slack >= first
            {
                return .before
            }
            // Notifications all have the null sender: another client's are of other mail.
            return isRefusal && isKnown && (isSameClient || !wanted.isEmpty) && time < first ? .earlier : nil
        }

        mutating func keep(_ event: StoryEvent) {
            // The last ones count: what lets mail pass is of this session only when it is young.
            if found.count >= 2 * StorySearch.maxSessionLines { found.removeFirst(StorySearch.maxSessionLines) }
            found.append(event)
        }

        /// What is of this message, now that it is known when its session began.
        var kept: [StoryEvent] {
            guard let first else { return found }
            return found.filter { event in
                guard event.part == .before, event.rank > 0, let time = event.time else { return true }
                // In one log the order of lines tells more than their times.
                if let taken, taken.source == event.source, event.sequence > taken.sequence { return false }
                if let begin, begin.source == event.source { return event.sequence > begin.sequence }
                return time + StorySearch.slack >= begin?.time ?? (first + .seconds(-StorySearch.maxSessionSeconds))
            }
        }
    }

    private struct Before {
        var wanted: [Wanted]

        init(_ wanted: [Wanted]) { self.wanted = wanted }

        mutating func take(_ line: LogLine, _ time: () -> UnixTime?, _ sequence: Int, _ reader: LogReader) {
            if let posterns = PosternLine(line) {
                guard let outcome = posterns.outcome, outcome.queueID == nil else { return }
                let moment = time() ?? posterns.time
                guard reader.wants(moment) else { return }
                let isRefusal = outcome.action.equals("defer") || outcome.action.equals("reject")
                for place in wanted.indices {
                    guard
                        let part = wanted[place].part(
                            outcome.clientAddress, outcome.sender, outcome.recipient, moment, isRefusal: isRefusal)
                    else { continue }
                    var event = StoryEvent(line, posterns, part, nil)
                    (event.time, event.sequence) = (moment, sequence)
                    wanted[place].keep(event)
                }
            } else if let postfixes = PostfixLine(line), postfixes.service.equals("smtpd") {
                takeSession(line, postfixes, time, sequence, reader)
            }
        }

        private mutating func takeSession(
            _ line: LogLine, _ postfixes: PostfixLine, _ time: () -> UnixTime?, _ sequence: Int, _ reader: LogReader
        ) {
            let refusal = postfixes.isOfMail && postfixes.queueID == nil ? PostfixRefusal(postfixes) : nil
            for place in wanted.indices {
                let isProcess =
                    wanted[place].session.map { $0.program[...] == line.program && $0.pid[...] == line.pid }
                    ?? false
                guard isProcess || refusal != nil else { continue }
                let moment = time()
                guard reader.wants(moment) else { continue }
                func event(_ part: StoryEvent.Part) -> StoryEvent {
                    var event = StoryEvent(line, postfixes, part, nil)
                    (event.time, event.sequence) = (moment, sequence)
                    return event
                }
                let part = refusal.flatMap { refusal in
                    wanted[place].part(
                        refusal.client.address, refusal.sender, refusal.recipient, moment, isRefusal: refusal.isRefusal)
                }
                if isProcess, part != .earlier, wanted[place].sessionLines != nil {
                    takeProcess(place, postfixes, moment, event(.before))
                } else if let part {
                    wanted[place].keep(event(part))
                }
            }
        }

        /// A line of the process that took the message in, before it did.
        private mutating func takeProcess(
            _ place: Int, _ line: PostfixLine, _ time: UnixTime?, _ event: StoryEvent
        ) {
            if line.connection != nil {
                wanted[place].sessionLines = []
                wanted[place].begin = event
            }
            if let id = line.queueID {
                guard line.client != nil else { return }
                // A process may have had two messages of one id; lines are only ever added behind.
                let taken = wanted[place].taken
                let isIt =
                    id == wanted[place].queueID[...] && (time == nil || time == taken?.time)
                    && event.sequence >= taken?.sequence ?? 0
                guard isIt else {
                    // Another message of the session: what was said before it was about that one.
                    let connection = wanted[place].sessionLines?.first.map { [$0] } ?? []
                    wanted[place].sessionLines = connection.filter { $0.rank == 0 }
                    wanted[place].begin = event
                    return
                }
                for line in wanted[place].sessionLines ?? [] {
                    wanted[place].keep(line)
                }
                wanted[place].sessionLines = nil
            } else if (wanted[place].sessionLines?.count ?? 0) < StorySearch.maxSessionLines {
                wanted[place].sessionLines?.append(event)
            }
        }
    }
}
