// A message's story for people, and as JSON.

internal import PosternMail

struct StoryText {
    let time: LogTimeText

    private static let titles: [(StoryEvent.Part, String)] = [
        (.earlier, "earlier tries"), (.before, "before it had a queue id"), (.message, "the message"),
    ]

    func text(of story: MessageStory) -> String {
        var text = head(of: story)
        for (part, title) in Self.titles {
            let events = story.events.filter { $0.part == part }
            if !events.isEmpty { text += "  \(title)\n" + lines(of: events) }
        }
        return text
    }

    private func head(of story: MessageStory) -> String {
        func given(_ octets: [UInt8]?, _ make: (String) -> String) -> [String] {
            octets.map { [make($0[...].shown)] } ?? []
        }
        var facts = given(story.sender) { "from <\($0)>" }
        if let address = story.clientAddress {
            facts.append("client \((story.clientName ?? [])[...].shown)[\(address[...].shown)]")
        }
        facts += given(story.login) { "login \($0)" }
        if let size = story.size { facts.append(ReportNumber.octets(size)) }
        facts += given(story.messageID) { "message-id \($0)" }
        var text = ([story.queueID[...].shown] + facts).joined(separator: ", ") + "\n"
        for recipient in story.recipients {
            let tries = recipient.tries > 1 ? " after \(recipient.tries) tries" : ""
            let relay = recipient.relay.isEmpty ? "" : " by \(recipient.relay[...].shown)"
            text += "  to <\(recipient.address[...].shown)>: \(recipient.status[...].shown)\(tries)\(relay): "
            text += "\(recipient.reason[...].shown)\n"
        }
        return text
    }

    /// With the day told where it changes.
    func lines(of events: [StoryEvent], showingIDs: Bool = false) -> String {
        let width = events.map { $0.program[...].shown.count }.max() ?? 0
        var (text, day) = ("", "")
        for event in events {
            if let moment = event.time, time.day(moment) != day {
                day = time.day(moment)
                text += "    \(day)\n"
            }
            let program = event.program[...].shown
            let pad = String(repeating: " ", count: width - program.count)
            let id = showingIDs ? "\(event.queueID.map { $0[...].shown } ?? "NOQUEUE"): " : ""
            text += "    \(event.time.map { time.clock($0) } ?? "        ")  \(program)\(pad)  \(id)\(event.shown)\n"
        }
        return text
    }

    // MARK: JSON

    func json(of story: MessageStory) -> JSONValue {
        func text(_ octets: [UInt8]?) -> JSONValue { octets.map { .octets($0) } ?? .null }
        return .object([
            .init(key: "queue_id", value: .octets(story.queueID)),
            .init(key: "message_id", value: text(story.messageID)), .init(key: "from", value: text(story.sender)),
            .init(key: "client_name", value: text(story.clientName)),
            .init(key: "client_address", value: text(story.clientAddress)),
            .init(key: "login", value: text(story.login)), .init(key: "octets", value: .optional(story.size)),
            .init(key: "removed", value: .boolean(story.isRemoved)),
            .init(
                key: "recipients",
                value: .list(
                    story.recipients.map { recipient in
                        [
                            "to": .octets(recipient.address), "status": .octets(recipient.status),
                            "relay": .octets(recipient.relay), "reason": .octets(recipient.reason),
                            "tries": .number(recipient.tries), "time": moment(recipient.time),
                        ]
                    })),
            .init(key: "events", value: .list(story.events.map { json(of: $0) })),
        ])
    }

    func json(of event: StoryEvent) -> JSONValue {
        [
            "time": moment(event.time), "part": .text(event.part.rawValue), "program": .octets(event.program),
            "pid": event.pid.isEmpty ? .null : .octets(event.pid),
            "queue_id": event.queueID.map { .octets($0) } ?? .null, "text": .text(event.shown),
        ]
    }

    private func moment(_ moment: UnixTime?) -> JSONValue { .optional(moment.map { time.rfc3339($0) }) }
}
