// Commands that are a daemon's own: how they are written and read, and how long answers come to whoever asked.

import Foundation
import Glibc
import PosternMail
import PosternSocket
import Synchronization
import TestSupport
import Testing

@testable import PosternDaemon

@Suite("a daemon's own commands")
struct ControlCommandTests {
    typealias Place = LifeControlTests.Place
    typealias Box = LifeControlTests.Box

    // MARK: Requests

    @Test(
        "what is written is read",
        arguments: [
            (ControlCommand("status"), "status"),
            (ControlCommand("dns stats", ["none": .null]), "dns stats"),
            (
                ControlCommand("greylist allow", ["sender": "\"a\nb\"@x.example", "days": .number(3)]),
                #"{"command":"greylist allow","sender":"\"a\nb\"@x.example","days":3}"#
            ),
            (ControlCommand("{odd"), #"{"command":"{odd"}"#),
            (ControlCommand("two\nlines"), #"{"command":"two\nlines"}"#),
        ])
    func lines(_ command: ControlCommand, _ line: String) throws {
        #expect(command.line == line)
        #expect(try ControlCommand(line: line) == command)
    }

    @Test(
        "what is no command", arguments: ["{", "{}", "{\"command\":1}", "{\"command\":\"a\"} b", "{\"Command\":\"a\"}"])
    func noCommand(_ line: String) {
        #expect(throws: ControlRefusal.self) { try ControlCommand(line: line) }
    }

    @Test("arguments are what they should be, or refused")
    func arguments() throws {
        let command = ControlCommand("x", ["text": "a", "number": .number(7), "flag": .boolean(true)])
        #expect(try command.text("text") == "a")
        #expect(try command.textIfAny("absent") == nil)
        #expect(try command.number("number", in: 1...7, default: 3) == 7)
        #expect(try command.number("absent", in: 1...7, default: 3) == 3)
        #expect(try command.flag("flag") && !command.flag("absent"))
        func refusal(_ body: () throws -> Void) -> String? {
            do { try body() } catch { return "\(error)" }
            return nil
        }
        #expect(refusal { _ = try command.text("absent") } == "expected the argument absent, found none")
        #expect(refusal { _ = try command.text("number") } == "number: expected a text, found another value")
        #expect(
            refusal { _ = try command.number("number", in: 1...6, default: 1) }
                == "number: expected a number from 1 to 6, found another value")
        #expect(refusal { _ = try command.number("text", in: 1...6, default: 1) } != nil)
        #expect(refusal { _ = try command.flag("number") } == "number: expected true or false, found another value")
    }

    // MARK: A daemon

    struct Running: RunningDaemon {
        let ended = Box<Int>(0)
        let pages: Int
        var openTransactions: Int { 0 }
        var counters: [CounterReading] { [] }
        func adopt(_ configuration: Configuration) {}
        func trouble() -> String? { nil }
        func stop() {}

        func answer(_ command: ControlCommand) throws(ControlRefusal) -> ControlAnswer? {
            switch command.name {
            case "echo": return .document(["text": .text(try command.text("text"))])
            case "list":
                let pages = pages
                return .documents(
                    .pages { (cursor: Int?) in
                        let page = cursor ?? 0
                        let filler = String(repeating: "x", count: 1000)
                        let documents = (0..<100).map { line -> ControlDocument in
                            ["number": .number(page * 100 + line), "filler": .text(filler)]
                        }
                        return (documents, page + 1 < pages ? page + 1 : nil)
                    })
            case "follow":
                let count = Box(0)
                return .documents(
                    ControlFeed(ended: { ended.withLock { $0 += 1 } }) {
                        let turn = count.withLock {
                            $0 += 1
                            return $0
                        }
                        return turn % 2 == 0 ? .nothingYet : .documents([["turn": .number(turn)]])
                    })
            default: return nil
            }
        }
    }

    private static func place(_ running: Running, within limit: Duration = .seconds(60)) throws -> Place {
        let office = try LifeReloadTests.Office(LifeReloadTests.text("one.example"))
        let desk = ControlDesk(
            program: "postern-x", running: running, configuration: try office.desk, log: office.log,
            started: MonotonicTime(nanoseconds: 0))
        return try Place(within: limit) { desk.answer($0) }
    }

    @Test("a command, its arguments, its answer, its refusal")
    func commands() throws {
        let place = try Self.place(Running(pages: 1))
        #expect(try place.ask(ControlCommand("echo", ["text": "a b"]).line) == "{\"text\":\"a b\"}\n")
        #expect(try place.ask("echo") == "{\"error\":\"expected the argument text, found none\"}\n")
        #expect(
            try place.ask("unknown")
                == "{\"error\":\"expected status, metrics, reload or a command of postern-x's own, found another\"}\n")
        #expect(try place.ask("{").hasPrefix("{\"error\":\"expected a JSON document"))
        #expect(try place.ask("status").hasPrefix("{\"name\":\"postern-x\""))
    }

    @Test("a list of ten megabytes comes whole and in order, and ends with what says so")
    func list() throws {
        let place = try Self.place(Running(pages: 100))
        var numbers: [Int64] = []
        var last: ControlDocument?
        try ControlClient.lines(place.endpoint, "list", silence: .seconds(60)) { line in
            last = try? ControlDocument(line)
            if let number = last?["number"]?.number { numbers.append(number) }
            return true
        }
        #expect(numbers == Array(0..<10_000))
        #expect(last == ControlAnswer.completed)
    }

    @Test("a client that follows is sent what comes, holds nobody up, and is let go when it goes")
    func follow() throws {
        let running = Running(pages: 1)
        let limit = Duration.seconds(2)
        let place = try Self.place(running, within: limit)
        let began = MonotonicTime.now()
        var turns: [Int64] = []
        try ControlClient.lines(place.endpoint, "follow", silence: .seconds(60)) { line in
            turns += [(try? ControlDocument(line))?["turn"]?.number ?? 0]
            // Beyond the time that one answer may take, others are served meanwhile.
            guard MonotonicTime.now() - began > limit else { return true }
            #expect((try? place.ask("status"))?.isEmpty == false)
            return false
        }
        #expect(turns == turns.indices.map { 2 * Int64($0) + 1 })
        while running.ended.withLock({ $0 }) == 0 { _ = try place.ask("echo") }
        #expect(running.ended.withLock { $0 } == 1)
    }

    @Test("a client that does not read a long answer is let go; the feed is told")
    func deaf() throws {
        let ended = Box(0)
        let page = [UInt8](repeating: 0x0A, count: 1 << 20)
        let place = try Place(within: .seconds(2)) { request in
            guard request == "list" else { return .whole(Array("{}\n".utf8)) }
            return .stream(ControlServer.Stream(ended: { ended.withLock { $0 += 1 } }) { .octets(page) })
        }
        let deaf = try place.dial()
        try deaf.write(Array("list\n".utf8), until: LifeControlTests.deadline)
        while ended.withLock({ $0 }) == 0 { #expect(try place.ask("x") == "{}\n") }
    }

    @Test("more followers than the cap are refused, and others are answered all the same")
    func manyFollowers() throws {
        let running = Running(pages: 1)
        let place = try Self.place(running)
        var followers: [Int32] = []
        for _ in 0..<ControlServer.maxStreams {
            let socket = try place.dial()
            try socket.write(Array("follow\n".utf8), until: LifeControlTests.deadline)
            var octets: [UInt8] = []
            _ = try socket.read(into: &octets, until: LifeControlTests.deadline)  // it is a stream by now
            followers.append(socket.release())
        }
        let cap = ControlServer.maxStreams
        #expect(
            try place.ask("follow") == "{\"error\":\"expected at most \(cap) clients that follow, found more\"}\n")
        #expect(try place.ask("status").hasPrefix("{\"name\""))
        for descriptor in followers { close(descriptor) }
        while running.ended.withLock({ $0 }) <= cap { _ = try place.ask("echo") }
        #expect(running.ended.withLock { $0 } == cap + 1)
    }

    @Test("what is followed ends with the server")
    func stopped() throws {
        let running = Running(pages: 1)
        do {
            let place = try Self.place(running)
            let socket = try place.dial()
            try socket.write(Array("follow\n".utf8), until: LifeControlTests.deadline)
            var octets: [UInt8] = []
            _ = try socket.read(into: &octets, until: LifeControlTests.deadline)
        }
        #expect(running.ended.withLock { $0 } == 1)
    }

    @Test("damaged requests never trap")
    func damaged() throws {
        let desk = try LifeControlTests.desk(try LifeReloadTests.Office(LifeReloadTests.text("one.example")))
        Mutations.of(
            [Array(#"{"command":"echo","text":"a\n","n":7,"o":{"x":[true,null]}}"#.utf8)],
            tokens: [Array("\\u".utf8), Array("\"".utf8), [0xFF], Array("{".utf8)], count: 2000, seed: 7
        ) { octets in
            let line = String(decoding: octets, as: UTF8.self)
            if let command = try? ControlCommand(line: line) {  // most are none
                #expect((try? ControlCommand(line: command.line)) == command)
            }
            if case .stream = desk.answer(line) { Issue.record("no stream was to be had") }
        }
    }
}
