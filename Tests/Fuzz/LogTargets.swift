// Mail logs as `postern report` and `postern why` read them: whatever is in a line, nothing traps, and what is made of it
// is text for a terminal, one JSON value, and a page in which nothing of a stranger's is markup.

import PosternMail

@testable import PosternAdmin
@testable import PosternDaemon

/// Lines of a log.
@Sendable func fuzzMailLog(_ input: inout FuzzInput) {
    var counts = ReportCounts(offset: 3600)
    var clock = LogClock(newest: UnixTime(seconds: 1_795_000_000)) { year, month, day, hour in
        CivilDate(year: year, month: month, day: day).dayNumber * 86_400 + Int64(hour) * 3600
    }
    var story = MessageStory(queueID: Array("4cXk2J1hz".utf8))
    for octets in input.remainder().split(separator: 0x0A, omittingEmptySubsequences: false) {
        guard let line = LogLine(octets) else { continue }
        counts.take(line, time: { clock.time(of: line.stamp) }, wants: { _ in true })
        if let posterns = PosternLine(line) {
            if let outcome = posterns.outcome, line.message.first != UInt8(ascii: "{") {
                for value in [outcome.sender, outcome.recipient, outcome.helo].compactMap({ $0 }) {
                    let isPlain = !value.contains(UInt8(ascii: "<")) && !value.contains(UInt8(ascii: ">"))
                    require(isPlain, "brackets in a value of \(shown(octets))")
                }
            }
            story.add(StoryEvent(line, posterns, .message, story.queueID))
        } else if let postfixes = PostfixLine(line) {
            story.add(StoryEvent(line, postfixes, .message, story.queueID))
        }
    }
    story.events = StorySearch.sorted(story.events)
    let time = LogTimeText(offset: 3600)
    let report = Report(
        counts: counts, since: nil, until: nil, made: UnixTime(seconds: 1_795_000_000), reading: .init(), time: time)
    let texts = [report.text, StoryText(time: time).text(of: story)]
    for text in texts {
        let isPrintable = text.unicodeScalars.allSatisfy { $0 == "\n" || $0.value >= 0x20 && $0.value != 0x7F }
        require(isPrintable, "a control character in \(shown(text.utf8))")
    }
    for json in [report.json, StoryText(time: time).json(of: story)] {
        _ = certain("a JSON value") { try ControlDocument(Array(json.description.utf8)) }
    }
    // The page has no elements but its own.
    let page = report.page.lowercased()
    for element in ["<script", "<img", "<a ", "<iframe", "<link"] {
        require(!page.contains(element), "\(element) in a page")
    }
}
