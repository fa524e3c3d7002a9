import Foundation
import PosternMail
import PosternSocket
import Synchronization
import TestSupport
import Testing

@testable import PosternDaemon

@Suite("log lines")
struct LifeLogTests {
    static let moment = UnixTime(nanoseconds: 1_795_225_943_004_000_000)  // 2026-11-21T01:52:23.004Z
    static let outcome = LogEvent.outcome(
        OutcomeLine(
            queueID: "4cXk2J1hz", action: "sign", stage: "END-OF-MESSAGE",
            client: SMTPClient(name: Array("localhost".utf8), address: .v4(0x7F00_0001)),
            text: "d=example.org s=2026q3 a=ed25519-sha256", mailFrom: Array("ann@example.org".utf8)))
    static let stranger = LogEvent.outcome(
        OutcomeLine(
            queueID: nil, action: "reject", stage: "RCPT",
            client: SMTPClient(name: Array("bad\nname".utf8), address: nil), text: "550 5.7.1 \"no\"\\",
            mailFrom: [], recipient: Array("bo>\u{7}\u{E9}@example.net".utf8), proto: "ESMTP",
            helo: Array("x\r\nwarning: forged".utf8)))

    static func rendering(_ format: LogFormat) -> LogRendering {
        LogRendering(program: "postern-dkim", pid: 812, format: format)
    }

    // MARK: Text

    @Test(
        "Postfix's grammar",
        arguments: [
            (
                outcome,
                "4cXk2J1hz: sign: END-OF-MESSAGE from localhost[127.0.0.1]: "
                    + "d=example.org s=2026q3 a=ed25519-sha256; from=<ann@example.org>"
            ),
            (
                stranger,
                "NOQUEUE: reject: RCPT from unknown[unknown]: 550 5.7.1 \"no\"\\; from=<> "
                    + #"to=<bo\x3E\x07\xC3\xA9@example.net> proto=ESMTP helo=<x\x0D\x0Awarning: forged>"#
            ),
            (.note(.info, "ready"), "ready"), (.note(.debug, "here"), "debug: here"),
            (.note(.warning, "upstream 192.0.2.53: no reply"), "warning: upstream 192.0.2.53: no reply"),
            (.note(.error, "lost"), "error: lost"), (.note(.critical, "exit"), "critical: exit"),
            (.note(.info, "Regel \u{201E}B\u{FC}cher\u{201C}"), "Regel \u{201E}B\u{FC}cher\u{201C}"),
            (
                .note(.info, "a\nb\u{0}c\u{7F}d\u{85}e\u{2028}f\u{202E}g"),
                #"a\x0Ab\x00c\x7Fd\xC2\x85e\xE2\x80\xA8f\xE2\x80\xAEg"#
            ),
        ] as [(LogEvent, String)])
    func text(_ event: LogEvent, _ line: String) {
        #expect(Self.rendering(.postfix).message(of: event, at: Self.moment) == line)
    }

    @Test(
        "JSON: null, not absent, when unknown",
        arguments: [
            (
                outcome,
                #"{"time":"2026-11-21T01:52:23.004Z","program":"postern-dkim","pid":812,"level":"info","#
                    + #""queue_id":"4cXk2J1hz","action":"sign","stage":"END-OF-MESSAGE","client_name":"localhost","#
                    + #""client_address":"127.0.0.1","text":"d=example.org s=2026q3 a=ed25519-sha256","#
                    + #""from":"ann@example.org","to":null,"proto":null,"helo":null}"#
            ),
            (
                stranger,
                #"{"time":"2026-11-21T01:52:23.004Z","program":"postern-dkim","pid":812,"level":"info","#
                    + #""queue_id":null,"action":"reject","stage":"RCPT","client_name":null,"client_address":null,"#
                    + #""text":"550 5.7.1 \"no\"\\","from":"","to":"bo\\x3E\\x07\\xC3\\xA9@example.net","proto":"ESMTP","#
                    + #""helo":"x\\x0D\\x0Awarning: forged"}"#
            ),
            (
                .note(.warning, "a\tb\n"),
                #"{"time":"2026-11-21T01:52:23.004Z","program":"postern-dkim","pid":812,"level":"warning","#
                    + #""text":"a\\x09b\\x0A"}"#
            ),
        ] as [(LogEvent, String)])
    func json(_ event: LogEvent, _ line: String) throws {
        let found = Self.rendering(.json).message(of: event, at: Self.moment)
        #expect(found == line)
        _ = try JSONSerialization.jsonObject(with: Data(found.utf8))
    }

    @Test("JSON strings")  // RFC 8259 §7
    func quoting() throws {
        let all =
            String(String.UnicodeScalarView((0..<0x250).compactMap(Unicode.Scalar.init))) + "\u{2028}\u{2029}\u{1F4EE}"
        let quoted = JSONLine.quoted(all)
        let back = try JSONSerialization.jsonObject(with: Data(quoted.utf8), options: .fragmentsAllowed)
        #expect(back as? String == all)
        #expect(JSONLine.quoted("a\"b\\c\n\r\t\u{1}\u{7F}/") == #""a\"b\\c\n\r\t\u0001\u007f/""#)
    }

    @Test("a cut is at a character, and shown")
    func cut() {
        #expect(LogRendering.cut("abcdef", to: 6) == "abcdef")
        #expect(LogRendering.cut("abcdefg", to: 6) == "abc...")
        #expect(LogRendering.cut("a\u{E9}\u{E9}\u{E9}", to: 6) == "a\u{E9}...")
        #expect(LogRendering.cut("\u{1F4EE}\u{1F4EE}", to: 6) == "...")
    }

    @Test("whatever is in an event, its line is one line", arguments: LogFormat.allCases)
    func oneLine(_ format: LogFormat) {
        let rendering = Self.rendering(format)
        Mutations.of(
            [Array("mx.example.net".utf8), Array("\r\nwarning: x".utf8)],
            tokens: [[0x0A], [0x0D], [0], [0xE2, 0x80, 0xA8], [0xC2, 0x85], [0x1B, 0x5B]], count: 500, seed: 8
        ) { octets in
            let text = String(decoding: octets, as: UTF8.self)
            let event = LogEvent.outcome(
                OutcomeLine(
                    queueID: text, action: text, stage: text, client: SMTPClient(name: octets, address: nil),
                    text: text,
                    mailFrom: octets, recipient: octets, proto: text, helo: octets))
            for event in [event, .note(.warning, text)] {
                let line = rendering.message(of: event, at: Self.moment)
                let bad = line.unicodeScalars.contains { scalar in
                    scalar.value < 0x20 || 0x7F...0x9F ~= scalar.value || 0x2028...0x2029 ~= scalar.value
                }
                #expect(!bad, "\(line)")
            }
        }
    }

    @Test("a JSON object is never cut", arguments: ["\"", "\\", "\u{1}", "x"])
    func longJSON(_ filler: String) throws {
        let long = String(repeating: filler, count: 10_000)
        let event = LogEvent.outcome(
            OutcomeLine(
                queueID: long, action: long, stage: long,
                client: SMTPClient(name: Array(long.utf8), address: nil), text: long, mailFrom: Array(long.utf8),
                recipient: Array(long.utf8), proto: long, helo: Array(long.utf8)))
        let line = Self.rendering(.json).message(of: event, at: Self.moment)
        #expect(line.utf8.count < LogRendering.maxLineOctets)
        _ = try JSONSerialization.jsonObject(with: Data(line.utf8))
    }

    @Test(
        "times",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (-1_000_000, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00.000Z"),
        ] as [(Int64, String)])
    func time(_ nanoseconds: Int64, _ text: String) {
        #expect(LogRendering.timestamp(UnixTime(nanoseconds: nanoseconds)) == text)  // RFC 3339 §5.6
    }

    // MARK: Standard error

    /// Both ends of a pipe.
    struct Pipe: ~Copyable {
        let input: Int32
        let output: Int32

        init() throws {
            var ends: [Int32] = [-1, -1]
            try #require(pipe(&ends) == 0)
            (input, output) = (ends[0], ends[1])
        }
        deinit {
            close(input)
            close(output)
        }

        /// What is in it now.
        func drain() -> String {
            var text: [UInt8] = []
            var entry = pollfd(fd: input, events: Int16(POLLIN), revents: 0)
            while poll(&entry, 1, 0) == 1 {
                var buffer = [UInt8](repeating: 0, count: 65_536)
                let count = read(input, &buffer, buffer.count)
                guard count > 0 else { break }
                text += buffer.prefix(count)
            }
            return String(decoding: text, as: UTF8.self)
        }
    }

    static func standardError(_ descriptor: Int32, _ settings: LogSettings) -> StandardErrorLog {
        StandardErrorLog(program: "postern-dkim", pid: 812, settings: settings, descriptor: descriptor, now: { moment })
    }

    @Test("standard error: program and process id before each line, nothing below the level")
    func standardError() throws {
        let pipe = try Pipe()
        let log = Self.standardError(pipe.output, LogSettings(level: .info))
        log.write(.note(.debug, "not shown"))
        log.write(Self.outcome)
        log.warning("look")
        #expect(
            pipe.drain() == """
                postern-dkim[812]: 4cXk2J1hz: sign: END-OF-MESSAGE from localhost[127.0.0.1]: \
                d=example.org s=2026q3 a=ed25519-sha256; from=<ann@example.org>
                postern-dkim[812]: warning: look

                """)
        let quiet = Self.standardError(pipe.output, LogSettings(level: .error))
        quiet.warning("not shown")
        quiet.critical("shown")
        #expect(pipe.drain() == "postern-dkim[812]: critical: shown\n")
        Self.standardError(pipe.output, LogSettings(format: .json)).info("x")
        #expect(pipe.drain().hasPrefix(#"{"time":"2026-11-21T01:52:23.004Z","program":"postern-dkim","pid":812,"#))
    }

    @Test("a long line is cut to what a pipe takes in one piece")  // pipe(7), PIPE_BUF
    func longLine() throws {
        let pipe = try Pipe()
        let log = Self.standardError(pipe.output, LogSettings())
        log.info(String(repeating: "x", count: 10_000))
        let line = pipe.drain()
        #expect(line.utf8.count == 4096)
        #expect(line.hasSuffix("x...\n"))
    }

    @Test("lines of many threads do not mix")
    func threads() throws {
        let pipe = try Pipe()
        let log = Self.standardError(pipe.output, LogSettings())
        let group = DispatchGroup()
        for thread in 0..<8 {
            group.enter()
            Foundation.Thread.detachNewThread {
                for _ in 0..<10 { log.info(String(repeating: "\(thread)", count: 100)) }
                group.leave()
            }
        }
        group.wait()
        let lines = pipe.drain().split(separator: "\n")
        #expect(lines.count == 80)
        for line in lines {
            let text = line.dropFirst("postern-dkim[812]: ".count)
            #expect(text.count == 100 && Set(text).count == 1)
        }
    }

    @Test("a reader who does not read holds nobody up; what was lost is told")
    func lost() throws {
        let pipe = try Pipe()
        fcntlNonBlocking(pipe.output)
        let filler = [UInt8](repeating: 0x78, count: 4096)
        while write(pipe.output, filler, filler.count) > 0 {}
        let log = Self.standardError(pipe.output, LogSettings())
        for index in 0..<100 { log.info("\(index)") }
        _ = pipe.drain()
        log.info("again")
        #expect(
            pipe.drain()
                == "postern-dkim[812]: again\npostern-dkim[812]: warning: 100 log lines were lost: nobody read them\n")
        log.info("on")
        #expect(pipe.drain() == "postern-dkim[812]: on\n")
    }

    private func fcntlNonBlocking(_ descriptor: Int32) { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }

    // MARK: Syslog and the journal

    /// The socket of syslog or of the journal.
    final class Receiver {
        let path: String
        private let descriptor: Int32

        init(_ path: String) throws {
            self.path = path
            unlink(path)
            descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
            let size = socklen_t(MemoryLayout<sockaddr_un>.size)
            let bound = withUnsafeBytes(of: address) {
                bind(descriptor, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), size)
            }
            try #require(bound == 0)
        }
        deinit { close(descriptor) }

        func next() -> String {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
        }
    }

    static func path() -> String { "/tmp/postern-test-\(getpid())-\(UInt32.random(in: .min ... .max)).sock" }

    @Test("syslog datagrams")  // RFC 3164 §4.1
    func syslog() throws {
        setenv("TZ", "UTC", 1)
        tzset()
        let receiver = try Receiver(Self.path())
        defer { unlink(receiver.path) }
        let fallback = RecordingLog()
        let encoding = SyslogEncoding(rendering: Self.rendering(.postfix), facility: .mail)
        let log = DatagramLog(path: receiver.path, encoding: encoding, level: .info, fallback: fallback) { Self.moment }
        log.write(.note(.debug, "not sent"))
        log.write(Self.outcome)
        #expect(
            receiver.next() == "<22>Nov 21 01:52:23 postern-dkim[812]: 4cXk2J1hz: sign: END-OF-MESSAGE from "
                + "localhost[127.0.0.1]: d=example.org s=2026q3 a=ed25519-sha256; from=<ann@example.org>")
        log.warning("look %s%n")
        #expect(receiver.next() == "<20>Nov 21 01:52:23 postern-dkim[812]: warning: look %s%n")
        log.info(String(repeating: "x", count: 10_000))
        #expect(receiver.next().utf8.count == 2048)
        #expect(fallback.events == [])
        let many = [UInt8](repeating: 0x22, count: 1000)
        let quotes = OutcomeLine(
            queueID: nil, action: "pass", stage: "MAIL", client: SMTPClient(name: [], address: nil),
            text: String(decoding: many, as: UTF8.self), mailFrom: many, helo: many)
        let json = SyslogEncoding(rendering: Self.rendering(.json), facility: .mail)
        let object = json.datagram(of: .outcome(quotes), at: Self.moment)
        #expect(object.count > 2048 && object.last == 0x7D, "an object is whole")
        let early = SyslogEncoding(rendering: Self.rendering(.postfix), facility: .local7)
        let day = UnixTime(seconds: 1_772_330_584)  // 2026-03-01T02:03:04Z
        #expect(
            String(decoding: early.datagram(of: .note(.critical, "x"), at: day), as: UTF8.self)
                == "<186>Mar  1 02:03:04 postern-dkim[812]: critical: x")
    }

    @Test("the journal's fields")
    func journal() throws {
        let receiver = try Receiver(Self.path())
        defer { unlink(receiver.path) }
        let fallback = RecordingLog()
        let encoding = JournalEncoding(rendering: Self.rendering(.postfix), facility: .mail)
        let log = DatagramLog(path: receiver.path, encoding: encoding, level: .info, fallback: fallback)
        log.write(Self.outcome)
        #expect(
            receiver.next() == """
                MESSAGE=4cXk2J1hz: sign: END-OF-MESSAGE from localhost[127.0.0.1]: \
                d=example.org s=2026q3 a=ed25519-sha256; from=<ann@example.org>
                PRIORITY=6
                SYSLOG_FACILITY=2
                SYSLOG_IDENTIFIER=postern-dkim
                SYSLOG_PID=812
                POSTFIX_QUEUEID=4cXk2J1hz
                POSTERN_ACTION=sign

                """)
        log.error("a\nPRIORITY=0")
        #expect(receiver.next().hasPrefix("MESSAGE=error: a\\x0APRIORITY=0\nPRIORITY=3\n"))
        #expect(fallback.events == [])
    }

    @Test("a receiver that is absent: one note, the lines to standard error, and back again")
    func absent() throws {
        let path = Self.path()
        defer { unlink(path) }
        let fallback = RecordingLog()
        let encoding = JournalEncoding(rendering: Self.rendering(.postfix), facility: .mail)
        let log = DatagramLog(path: path, encoding: encoding, level: .info, fallback: fallback)
        log.info("one")
        log.info("two")
        #expect(
            fallback.events == [
                .note(
                    .warning,
                    "the journal takes no lines (connect \(path): No such file or directory); logging to standard error"
                ),
                .note(.info, "one"), .note(.info, "two"),
            ])
        var receiver: Receiver? = try Receiver(path)
        log.info("three")
        #expect(receiver?.next().hasPrefix("MESSAGE=three\n") == true)
        receiver = try Receiver(path)  // restarted: another socket at the same path
        log.info("four")
        #expect(receiver?.next().hasPrefix("MESSAGE=four\n") == true)
        #expect(fallback.events.count == 3)
        receiver = nil
        log.info("five")
        #expect(fallback.events.count == 5)
    }

    @Test("a receiver with a full queue holds nobody up")
    func full() throws {
        let receiver = try Receiver(Self.path())
        defer { unlink(receiver.path) }
        let fallback = RecordingLog()
        let encoding = SyslogEncoding(rendering: Self.rendering(.postfix), facility: .mail)
        let log = DatagramLog(path: receiver.path, encoding: encoding, level: .info, fallback: fallback)
        for index in 0..<2000 { log.info("\(index)") }
        #expect(fallback.warnings.count == 1)
        #expect(receiver.next().hasSuffix(": 0"))
    }
}
