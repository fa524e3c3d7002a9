// The log of a private Postfix (postlogd(8)), read by line and by queue id.

import Foundation
import Synchronization

/// One line of Postfix's log without its date and host: `postfix/cleanup[7711]: 72E90F7815D: message-id=<...>`.
public struct PostfixLogLine: Sendable, CustomStringConvertible {
    /// `cleanup`, `qmgr`, `smtpd` ...
    public let service: String
    /// What stands after the process id.
    public let text: String
    public var description: String { "\(service): \(text)" }

    /// The queue id at the head of the text, if there is one; never `NOQUEUE`.
    public var queueID: String? {
        guard let colon = text.firstIndex(of: ":") else { return nil }
        let word = text[..<colon]
        let isAlphanumeric = word.utf8.allSatisfy { octet in
            (0x30...0x39).contains(octet) || (0x41...0x5A).contains(octet) || (0x61...0x7A).contains(octet)
        }
        // Short ones are of capitals, long ones of both without a vowel. Source: postconf(5), enable_long_queue_ids.
        let isShort = word.count >= 6 && !word.contains(where: \.isLowercase)
        let isLong = word.count >= 10 && !word.contains { "aeiouAEIOU".contains($0) }
        let isID = isAlphanumeric && (isShort || isLong)
        return isID && word != "NOQUEUE" ? String(word) : nil
    }

    /// True for what an admin should look at. That a virtual machine's clocks differ by a second is not of that kind:
    /// nobody here can help it, and it happens on any of them.
    public var isTrouble: Bool {
        guard !text.hasPrefix("warning: file system clock is "), !text.hasPrefix("warning: resetting file time stamps")
        else { return false }
        return ["warning: ", "error: ", "fatal: ", "panic: "].contains { text.contains($0) }
    }

    init?(_ line: Substring) {
        guard let tag = line.range(of: " postfix/"), let open = line[tag.upperBound...].firstIndex(of: "["),
            let close = line.range(of: "]: ", range: open..<line.endIndex)
        else { return nil }
        service = String(line[tag.upperBound..<open])
        text = String(line[close.upperBound...])
    }
}

/// A file that grows, read by whole lines; each line is parsed once.
final class GrowingFile<Line: Sendable>: Sendable {
    private struct State {
        var offset: UInt64 = 0
        var rest: [UInt8] = []
        var lines: [Line] = []
    }
    private let path: URL
    private let parse: @Sendable (Substring) -> Line?
    private let state = Mutex(State())

    init(_ path: URL, parse: @escaping @Sendable (Substring) -> Line?) {
        self.path = path
        self.parse = parse
    }

    var lines: [Line] {
        state.withLock { state in
            guard let file = try? FileHandle(forReadingFrom: path) else { return state.lines }  // not there yet
            defer { try? file.close() }  // opened for reading: nothing to lose
            do {
                try file.seek(toOffset: state.offset)
                let new = try file.readToEnd() ?? Data()
                state.offset += UInt64(new.count)
                state.rest += new
            } catch { return state.lines }
            while let end = state.rest.firstIndex(of: 0x0A) {
                let line = String(decoding: state.rest[..<end], as: UTF8.self)
                state.rest.removeSubrange(...end)
                if let parsed = parse(line[...]) { state.lines.append(parsed) }
            }
            return state.lines
        }
    }
}
