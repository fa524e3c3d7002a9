// The head of a line in a mail log: when, and who says so. The traditional form and RFC 3339, with a host's name or
// without, as syslog daemons, journalctl, postlogd(8) and our own standard error write it. Left out: RFC 5424's
// framing, which no Debian writes into a file.

internal import PosternMail

/// One line, its parts still octets of it.
struct LogLine {
    var stamp: LogStamp
    /// `postfix/smtpd`, `postern-dkim`; empty for a JSON object without a head.
    var program: ArraySlice<UInt8>
    /// Empty where none is told.
    var pid: ArraySlice<UInt8>
    var message: ArraySlice<UInt8>
    /// Which of several logs it stands in.
    var source = 0

    /// Longest program name that is believed, in octets.
    private static let maxProgramOctets = 128

    init(stamp: LogStamp, program: ArraySlice<UInt8>, pid: ArraySlice<UInt8>, message: ArraySlice<UInt8>) {
        (self.stamp, self.program, self.pid, self.message) = (stamp, program, pid, message)
    }

    /// - Parameter line: without its line end.
    /// - Returns: nil for what has no program before its message.
    init?(_ line: ArraySlice<UInt8>) {
        var rest = line
        stamp = LogStamp(taking: &rest)
        if rest.first == UInt8(ascii: "{") {
            (program, pid, message) = ([], [], rest)
            return
        }
        if stamp != .none {
            guard let (_, after) = rest.parted(at: 0x20) else { return nil }  // the host
            // A JSON object behind the host: the sender's tag was lost, but it says itself whose it is.
            if after.first == UInt8(ascii: "{") {
                (program, pid, message) = ([], [], after)
                return
            }
            rest = after
        }
        guard let colon = rest.prefix(Self.maxProgramOctets).place(of: UInt8(ascii: ":")),
            let (_, text) = rest[colon...].parted(at: ": ")
        else { return nil }
        let tag = rest[..<colon]
        message = text
        guard tag.last == UInt8(ascii: "]"), let (name, number) = tag.parted(at: UInt8(ascii: "[")) else {
            guard !tag.isEmpty, !tag.contains(0x20) else { return nil }
            (program, pid) = (tag, [])
            return
        }
        guard !name.isEmpty, !name.contains(0x20) else { return nil }
        (program, pid) = (name, number.dropLast())
    }
}
