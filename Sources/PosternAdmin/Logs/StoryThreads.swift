// Whose lines are whose: one queue id may have been several messages', since Postfix uses short ones again, and of those
// that a search has found only some came of the message that was asked for. Pure: lines in, messages out.

internal import PosternMail

/// The messages that had the queue ids of a search, and which led to which.
struct StoryThreads {
    private let stories: [MessageStory]
    /// For each story the places of those that it led to.
    private var next: [[Int]]

    /// How much later than a line that names a queue id that message's first line may stand.
    private static let slack = Duration.seconds(2)

    init(_ stories: [MessageStory]) {
        self.stories = stories
        next = stories.map { _ in [] }
        for (place, story) in stories.enumerated() {
            for event in story.events {
                guard let line = event.postfixLine, let related = line.related,
                    let other = self.place(of: related, at: event.time), other != place
                else { continue }
                next[place].append(other)
                // Who asks for the first is shown what it became, too.
                if line.origin != nil { next[other].append(place) }
            }
        }
    }

    /// The message that had a queue id when a line named it: the last that had begun.
    private func place(of id: ArraySlice<UInt8>, at time: UnixTime?) -> Int? {
        let places = stories.indices.filter { stories[$0].queueID[...] == id }
        guard let time else { return places.last }
        return places.last { stories[$0].firstTime.map { $0 <= time + Self.slack } ?? true } ?? places.first
    }

    /// The stories that are asked for, and all that came of them.
    func connected(isAsked: (MessageStory) -> Bool) -> [MessageStory] {
        var isIn = stories.map(isAsked)
        var waiting = isIn.indices.filter { isIn[$0] }
        while let place = waiting.popLast() {
            for other in next[place] where !isIn[other] {
                isIn[other] = true
                waiting.append(other)
            }
        }
        return zip(stories, isIn).filter { $0.1 }.map { $0.0 }
    }

    // MARK: One queue id's lines

    /// The messages that had one queue id, one after another.
    static func stories(of id: [UInt8], _ events: [StoryEvent]) -> [MessageStory] {
        var stories: [MessageStory] = []
        for event in sorted(events) {
            if stories.last?.isContinued(by: event) != true { stories.append(MessageStory(queueID: id)) }
            stories[stories.count - 1].add(event)
        }
        return stories
    }

    /// By time. Of several logs whole seconds count, since not every log has more; in each of them its own order stays.
    static func sorted(_ events: [StoryEvent]) -> [StoryEvent] {
        func moment(_ event: StoryEvent) -> UnixTime { event.time ?? UnixTime(nanoseconds: 0) }
        let inOrder = events.sorted { (moment($0), $0.sequence) < (moment($1), $1.sequence) }
        let isOneLog = Set(events.map(\.program)).count <= 1 || Set(events.map(\.source)).count <= 1
        guard !isOneLog else { return inOrder }
        func key(_ event: StoryEvent) -> (Int64, Int, Int) { (moment(event).seconds, event.rank, event.sequence) }
        var logs = Dictionary(grouping: inOrder, by: \.source).values.map { $0[...] }
        var merged: [StoryEvent] = []
        merged.reserveCapacity(events.count)
        while let first = logs.indices.min(by: { Self.isBefore(logs[$0].first, logs[$1].first, key) }),
            let event = logs[first].popFirst()
        {
            merged.append(event)
            if logs[first].isEmpty { logs.remove(at: first) }
        }
        return merged
    }

    private static func isBefore(
        _ left: StoryEvent?, _ right: StoryEvent?, _ key: (StoryEvent) -> (Int64, Int, Int)
    ) -> Bool {
        guard let left, let right else { return left != nil }
        return key(left) < key(right)
    }
}
