import PosternMail
import PosternSocket
import Synchronization
import TestSupport
import Testing

@testable import PosternDaemon

@Suite("repeated warnings")
struct LifeRepeatTests {
    /// A log with a clock that the test turns.
    final class Desk: Sendable {
        let recording = RecordingLog()
        let log: DaemonLog

        init(level: LogLevel = .info) {
            let box = Clock()
            clock = box
            log = DaemonLog(
                recording, level: level, clock: { MonotonicTime(nanoseconds: box.now * 1_000_000_000) },
                now: { UnixTime(seconds: 1_795_000_000 + box.now) })
        }
        private let clock: Clock
        func advance(_ seconds: Int64) { clock.advance(seconds) }
    }
    final class Clock: Sendable {
        private let seconds = Mutex<Int64>(0)
        var now: Int64 { seconds.withLock { $0 } }
        func advance(_ more: Int64) { seconds.withLock { $0 += more } }
    }

    @Test("equal text comes once a minute; how often it came is told")
    func repeats() {
        let desk = Desk()
        for _ in 0..<1000 { desk.log.warning("no reply") }
        desk.log.warning("another")
        desk.log.error("no reply")  // graver: not the same
        #expect(desk.recording.warnings == ["no reply", "another", "no reply"])
    }

    @Test("the next one after a minute tells of those before it, itself among them")
    func next() {
        let desk = Desk()
        for _ in 0..<5 { desk.log.warning("no reply") }
        desk.advance(59)
        desk.log.warning("no reply")
        #expect(desk.recording.warnings == ["no reply"])
        desk.advance(1)
        desk.log.warning("no reply")
        #expect(desk.recording.warnings == ["no reply", "repeated 6 times: no reply"])
        desk.advance(60)
        desk.log.warning("no reply")
        #expect(desk.recording.warnings.last == "no reply", "one after a quiet minute is no repeat")
        #expect(desk.recording.warnings.count == 3)
    }

    @Test("repeats that end are told by the main thread's round")
    func round() {
        let desk = Desk()
        for _ in 0..<3 { desk.log.error("lost") }
        desk.log.tellRepeats()
        #expect(desk.recording.warnings == ["lost"])
        desk.advance(60)
        desk.log.tellRepeats()
        desk.log.tellRepeats()
        #expect(desk.recording.events == [.note(.error, "lost"), .note(.error, "repeated 2 times: lost")])
        desk.advance(60)
        desk.log.tellRepeats()
        desk.log.error("lost")
        #expect(desk.recording.warnings == ["lost", "repeated 2 times: lost", "lost"])
    }

    @Test("outcomes, info and the last words are never held back")
    func others() {
        let desk = Desk()
        for _ in 0..<3 {
            desk.log.write(LifeLogTests.outcome)
            desk.log.info("again")
            desk.log.critical("giving up")
        }
        #expect(desk.recording.events.count == 9)
    }

    @Test("below the level nothing is written, and all the same remembered")
    func level() {
        let desk = Desk(level: .error)
        desk.log.write(LifeLogTests.outcome)
        desk.log.warning("quiet")
        desk.log.error("loud")
        #expect(desk.recording.lines == ["loud"])
        desk.log.warning("quiet")
        #expect(desk.log.lastWarning?.text == "quiet")
        desk.log.setLevel(.debug)
        desk.log.write(.note(.debug, "d"))
        #expect(desk.recording.lines == ["loud", "d"])
    }

    @Test("the last warning, its time and how often it came in a row")
    func last() {
        let desk = Desk()
        #expect(desk.log.lastWarning == nil)
        desk.log.info("nothing")
        #expect(desk.log.lastWarning == nil)
        desk.log.warning("a")
        desk.advance(7)
        desk.log.warning("a")
        let (time, expected) = (UnixTime(seconds: 1_795_000_007), 2)
        #expect(desk.log.lastWarning == .init(level: .warning, text: "a", time: time, count: expected))
        desk.log.tell(.note(.error, "b"))
        #expect(desk.log.lastWarning == .init(level: .error, text: "b", time: time, count: 1))
    }

    @Test("many different texts are remembered up to a cap")
    func cap() {
        let desk = Desk()
        desk.log.warning("first")
        for index in 0..<DaemonLog.maxTexts {
            desk.advance(index == 0 ? 1 : 0)
            desk.log.warning("text \(index)")
        }
        desk.log.warning("text 255")
        desk.log.warning("first")
        #expect(
            desk.recording.warnings.count == DaemonLog.maxTexts + 2, "the oldest was forgotten, the others were not")
        #expect(desk.recording.warnings.last == "first")
    }

    @Test("threads")
    func threads() throws {
        let desk = Desk()
        let threads = try (0..<4).map { _ in
            Box(
                try PosternDaemon.Thread.start(name: "warner") {
                    for _ in 0..<1000 { desk.log.warning("same") }
                })
        }
        for thread in threads { thread.join() }
        #expect(desk.recording.warnings == ["same"])
        desk.advance(60)
        desk.log.tellRepeats()
        #expect(desk.recording.warnings == ["same", "repeated 3999 times: same"])
        #expect(desk.log.lastWarning?.count == 4000)
    }
    /// A thread cannot lie in an array.
    final class Box {
        private var thread: PosternDaemon.Thread?
        init(_ thread: consuming PosternDaemon.Thread) { self.thread = consume thread }
        func join() { thread.take()?.join() }
    }
}
