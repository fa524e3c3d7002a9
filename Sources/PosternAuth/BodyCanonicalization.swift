// How the body is made ready for hashing (RFC 6376 §3.4.3, §3.4.4), as a stream: chunks may be cut anywhere, nothing of
// the body is kept, and what waits (line ends that may be the body's last ones, white space that may end its line) is
// counted instead of stored. A CR or LF alone is text like any other octet.

import PosternMail

/// The body's half of `c=`. Source: RFC 6376 §3.4.
public enum BodyCanonicalization: String, Hashable, Sendable, CaseIterable {
    case simple, relaxed
}

/// Takes the canonical form, piece by piece.
protocol OctetSink: AnyObject {
    func write(_ octets: Span<UInt8>)
}

/// CRLFs in one block, for writing many that waited.
private let lineEnds: [UInt8] = (0..<2048).flatMap { _ in [0x0D, 0x0A] as [UInt8] }

extension OctetSink {
    fileprivate func write(lineEnds count: Int) {
        let block = lineEnds
        var rest = count
        while rest > 0 {
            let now = min(rest, block.count / 2)
            write(block.span.extracting(first: 2 * now))
            rest -= now
        }
    }
}

/// The simple form: all but the empty lines at the end. Source: RFC 6376 §3.4.3.
///
/// The chunk's own octets go to the sink, nothing is copied.
struct SimpleBody {
    private var waitingLineEnds = 0
    private var endsInCR = false

    mutating func update(_ chunk: Span<UInt8>, into sink: some OctetSink) {
        var start = 0
        while start < chunk.count {  // more of the line ends that the last chunk ended with
            let octet = chunk[start]
            if endsInCR, octet == 0x0A {
                waitingLineEnds += 1
                endsInCR = false
            } else if !endsInCR, octet == 0x0D {
                endsInCR = true
            } else {
                break
            }
            start += 1
        }
        guard start < chunk.count else { return }
        release(into: sink)
        var end = chunk.count
        if chunk[end - 1] == 0x0D {
            endsInCR = true
            end -= 1
        }
        while end - start >= 2, chunk[end - 1] == 0x0A, chunk[end - 2] == 0x0D {
            waitingLineEnds += 1
            end -= 2
        }
        sink.write(chunk.extracting(start..<end))
    }

    /// Text follows: what waited was not the end of the body.
    private mutating func release(into sink: some OctetSink) {
        sink.write(lineEnds: waitingLineEnds)
        waitingLineEnds = 0
        if endsInCR {
            let cr: [UInt8] = [0x0D]
            sink.write(cr.span)
            endsInCR = false
        }
    }

    /// The end of the body: exactly one CRLF, also for a body without any line. Source: RFC 6376 §3.4.3.
    mutating func finish(into sink: some OctetSink) {
        if endsInCR { release(into: sink) }
        sink.write(lineEnds: 1)
        waitingLineEnds = 0
    }
}

/// The relaxed form: WSP at line ends dropped, other runs of WSP made one SP, empty lines at the end dropped; empty
/// when nothing is left. Source: RFC 6376 §3.4.4.
struct RelaxedBody {
    /// The output's buffer: large enough that hashing is paid by the octet and not by the call.
    private static let bufferOctets = 16 * 1024
    /// Octets of a chunk looked at between two looks at the buffer's room.
    private static let sliceOctets = 8 * 1024
    /// What a slice may write beyond its own length: a CR and a SP that waited, and the tail of a word.
    private static let marginOctets = 16

    private var buffer = [UInt8](repeating: 0, count: bufferOctets)
    private var used = 0
    private var waiting = WhiteSpace()
    private var hasText = false

    /// White space whose fate the next text decides.
    private struct WhiteSpace {
        var lineEnds = 0
        var hasSpace = false
        var endsInCR = false

        var isEmpty: Bool { lineEnds == 0 && !hasSpace && !endsInCR }

        /// Takes in an octet that is, or may be, white space; `false` when text begins: then all of it stays.
        mutating func take(_ octet: UInt8) -> Bool {
            if endsInCR {
                guard octet == 0x0A else { return false }  // the CR was text
                endsInCR = false
                hasSpace = false  // RFC 6376 §3.4.4: ignore all white space at the end of lines
                lineEnds += 1
            } else if octet == 0x0D {
                endsInCR = true
            } else if octet.isWSP {
                hasSpace = true  // RFC 6376 §3.4.4: a sequence of WSP is a single SP
            } else {
                return false
            }
            return true
        }
    }

    mutating func update(_ chunk: Span<UInt8>, into sink: some OctetSink) {
        var start = 0
        while start < chunk.count {
            let slice = chunk.extracting(start..<min(start + Self.sliceOctets, chunk.count))
            start += slice.count
            if buffer.count - used < slice.count + Self.marginOctets { flush(into: sink) }
            var at = 0
            while at < slice.count {
                if waiting.isEmpty {
                    Self.copyText(slice, from: &at, to: &buffer, used: &used)
                    guard at < slice.count else { break }
                }
                if waiting.take(slice[at]) {
                    at += 1
                } else if waiting.isEmpty {  // a control character, an LF alone
                    append(slice[at])
                    at += 1
                } else {
                    release(room: slice.count - at, into: sink)
                }
            }
        }
    }

    /// Text follows: what waited is neither at the end of its line nor of the body.
    /// - Parameter room: octets that the rest of the slice may still write.
    private mutating func release(room: Int, into sink: some OctetSink) {
        if buffer.count - used < 2 * waiting.lineEnds + room + Self.marginOctets {
            flush(into: sink)
            if 2 * waiting.lineEnds > buffer.count - room - Self.marginOctets {
                sink.write(lineEnds: waiting.lineEnds)
                waiting.lineEnds = 0
            }
        }
        for _ in 0..<waiting.lineEnds {
            append(0x0D)
            append(0x0A)
        }
        if waiting.hasSpace { append(0x20) }
        if waiting.endsInCR { append(0x0D) }
        waiting = WhiteSpace()
        hasText = true
    }

    /// The end of the body. Source: RFC 6376 §3.4.4.
    mutating func finish(into sink: some OctetSink) {
        if waiting.endsInCR { release(room: 0, into: sink) }
        flush(into: sink)
        if hasText { sink.write(lineEnds: 1) }
        waiting = WhiteSpace()
    }

    private mutating func append(_ octet: UInt8) {
        buffer[used] = octet
        used += 1
    }

    private mutating func flush(into sink: some OctetSink) {
        guard used > 0 else { return }
        hasText = true
        sink.write(buffer.span.extracting(first: used))
        used = 0
    }

    // MARK: Eight octets at once

    /// Each octet of a word with this value.
    private static func each(_ octet: UInt8) -> UInt64 { 0x0101_0101_0101_0101 &* UInt64(octet) }

    /// Copies text that canonicalization does not change: octets over 0x20, single SPs between them, and line ends
    /// between two of them. Ends before the first octet that needs a closer look.
    ///
    /// Words of eight octets are tested with arithmetic that has one bit of answer for each octet; no carry crosses from
    /// one octet into the next since all sums stay below 0x100. A word is stored whole and counted in part, which is why
    /// the buffer has a margin.
    private static func copyText(
        _ input: Span<UInt8>, from at: inout Int, to buffer: inout [UInt8], used: inout Int
    ) {
        let words = input.bytes
        let high = each(0x80)
        let low = each(0x7F)
        var output = buffer.mutableSpan
        var from = at
        var to = used
        while from + 8 <= input.count {
            // Little-endian, so that the first octet is the lowest whatever the machine.
            let word = UInt64(littleEndian: words.unsafeLoadUnaligned(fromByteOffset: from, as: UInt64.self))
            // High bit of each octet that is 0x20 or less ...
            let small = ~(((word & low) &+ each(0x7F - 0x20)) | word) & high
            // ... of each that is SP ...
            let other = word ^ each(0x20)
            let spaces = ~(((other & low) &+ low) | other) & high
            // ... and of each that is no text, or a SP before what may be no text: a neighbour, or the next word.
            let doubtful = (small & ~spaces) | (spaces & (small &>> 8 | 1 &<< 63))
            var bytes = output.mutableBytes
            bytes.storeBytes(of: word.littleEndian, toByteOffset: to, as: UInt64.self)
            if doubtful == 0 {  // a branch that the processor foresees; the sum of a count would hold up the next load
                from += 8
                to += 8
                continue
            }
            let count = doubtful.trailingZeroBitCount / 8
            from += count
            to += count
            if count == 7 { continue }
            // A line's end with text on both sides; what comes before it is text, since a SP there was doubtful.
            guard input.count - from > 2, input[from] == 0x0D, input[from + 1] == 0x0A, input[from + 2] > 0x20 else {
                break
            }
            output[to] = 0x0D
            output[to + 1] = 0x0A
            from += 2
            to += 2
        }
        while from < input.count, input[from] > 0x20 {
            output[to] = input[from]
            from += 1
            to += 1
        }
        at = from
        used = to
    }
}
