// Looks for what never had a queue id: tries of a client, a sender or a recipient that were refused, deferred or let
// in, as Postfix and Postern tell of them. For who asks "why does their mail not arrive" and has no queue id.

internal import PosternMail

/// What a line must say.
struct TryFilter: Equatable {
    /// An address or a name.
    var client: String?
    var sender: String?
    var recipient: String?

    var isEmpty: Bool { client == nil && sender == nil && recipient == nil }

    fileprivate func matches(
        _ address: ArraySlice<UInt8>, _ name: ArraySlice<UInt8>, _ sender: ArraySlice<UInt8>?,
        _ recipient: ArraySlice<UInt8>?
    ) -> Bool {
        func isEqual(_ wanted: String?, _ found: ArraySlice<UInt8>?) -> Bool {
            guard let wanted else { return true }
            return found?.equalsIgnoringASCIICase(Array(wanted.utf8)) ?? false
        }
        guard isEqual(self.sender, sender), isEqual(self.recipient, recipient) else { return false }
        return isEqual(client, address) || isEqual(client, name)
    }
}

struct TrySearch {
    let reader: LogReader
    let filter: TryFilter

    /// Lines that are kept: the last ones.
    static let maxEvents = 1000

    /// - Returns: the last lines that match, in time order, and whether there were more.
    func events() throws(CommandFailure) -> (events: [StoryEvent], isCut: Bool, notes: [String]) {
        var (found, isCut) = ([StoryEvent](), false)
        var sequence = 0
        let reading = try reader.read { line, time in
            sequence += 1
            guard var event = event(line) else { return }
            event.time = time() ?? event.time
            guard reader.wants(event.time) else { return }
            event.sequence = sequence
            if found.count >= 2 * Self.maxEvents {
                found.removeFirst(Self.maxEvents)
                isCut = true
            }
            found.append(event)
        }
        if found.count > Self.maxEvents { isCut = true }
        return (Array(StoryThreads.sorted(found).suffix(Self.maxEvents)), isCut, reading.notes)
    }

    private func event(_ line: LogLine) -> StoryEvent? {
        if let posterns = PosternLine(line) {
            guard let outcome = posterns.outcome,
                filter.matches(outcome.clientAddress, outcome.clientName, outcome.sender, outcome.recipient)
            else { return nil }
            return StoryEvent(line, posterns, .message, outcome.queueID.map { Array($0) })
        }
        guard let postfixes = PostfixLine(line) else { return nil }
        if let refusal = PostfixRefusal(postfixes) {
            guard filter.matches(refusal.client.address, refusal.client.name, refusal.sender, refusal.recipient)
            else { return nil }
        } else {
            // The line that names a message's client names no sender.
            guard let client = postfixes.client, postfixes.queueID != nil, filter.sender == nil,
                filter.recipient == nil,
                filter.matches(client.address, client.name, nil, nil)
            else { return nil }
        }
        return StoryEvent(line, postfixes, .message, postfixes.queueID.map { Array($0) })
    }
}
