// A load generator for a DNS server on a UNIX socket, as the daemons use one: a connection, questions pipelined (RFC
// 7766 §6.2.1.1). It tells questions a second and, from /proc, the server's CPU for an answer. The file of questions has
// dnsperf's form, `NAME TYPE` a line, so that both can ask the same.

import Foundation
import Glibc
import PosternDNS
import PosternMail

struct DNSLoad {
    let socket: String
    /// Framed queries, asked in their order and again.
    let queries: [[UInt8]]
    var count = 1_000_000
    /// Questions that are open at once.
    var window = 64
    var processes: [Int32] = []

    init(socket: String, file: String) throws {
        self.socket = socket
        let text = String(decoding: try Data(contentsOf: URL(filePath: file)), as: UTF8.self)
        queries = try text.split(separator: "\n").enumerated().map { number, line in
            let words = line.split(separator: " ").map(String.init)
            guard let name = words.first, let type = words.dropFirst().first.flatMap({ RecordType($0) }) else {
                throw BenchError.usage("expected NAME TYPE in \(file), found \(line)")
            }
            let query = DNSCodec.query(
                id: UInt16(truncatingIfNeeded: number), question: Question(try DomainName(name), type))
            return [UInt8(query.count >> 8), UInt8(query.count & 0xFF)] + query
        }
        guard !queries.isEmpty else { throw BenchError.usage("\(file) holds no question") }
    }

    /// Asks every question once, unmeasured, then `count`.
    func run() throws {
        let descriptor = try connected()
        defer { close(descriptor) }
        try ask(queries.count, on: descriptor)
        func used() -> [Double] { processes.map { ProcessAccount.cpuSeconds($0) ?? 0 } }
        let before = used()
        let start = Date()
        try ask(count, on: descriptor)
        let seconds = Date().timeIntervalSince(start)
        let each = zip(before, used()).map { ($1 - $0) * 1_000_000 / Double(count) }.reduce(0, +)
        print("\(Commands.format(Double(count) / seconds, 0))/s, CPU \(Commands.format(each, 2)) us an answer")
    }

    private func ask(_ count: Int, on descriptor: Int32) throws {
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        var next = 0
        var left = count
        while left > 0 {
            let batch = min(left, window)
            var octets: [UInt8] = []
            for _ in 0..<batch {
                octets += queries[next]
                next = next + 1 == queries.count ? 0 : next + 1
            }
            var sent = 0
            while sent < octets.count {
                let written = octets.withUnsafeBytes {
                    send(descriptor, $0.baseAddress?.advanced(by: sent), octets.count - sent, Int32(MSG_NOSIGNAL))
                }
                guard written > 0 else { throw BenchError.system("send: \(String(cString: strerror(errno)))") }
                sent += written
            }
            try takeReplies(batch, on: descriptor, &buffer)
            left -= batch
        }
    }

    /// Reads so many replies; the server sends nothing else.
    private func takeReplies(_ count: Int, on descriptor: Int32, _ buffer: inout [UInt8]) throws {
        var (filled, taken, replies) = (0, 0, 0)
        while replies < count {
            let room = buffer.count - filled
            let got = buffer.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress?.advanced(by: filled), room, 0) }
            guard got > 0 else { throw BenchError.system("the server closed the connection") }
            filled += got
            while filled - taken >= 2 {
                let length = Int(buffer[taken]) << 8 | Int(buffer[taken + 1])
                guard filled - taken >= 2 + length else { break }
                // RFC 1035 §4.1.1: the lower four bits of the fourth octet are RCODE.
                guard length > 4, buffer[taken + 5] & 0x0F == 0 else {
                    throw BenchError.wrongResult("a reply that is no answer")
                }
                taken += 2 + length
                replies += 1
            }
            buffer.replaceSubrange(0..<filled - taken, with: buffer[taken..<filled])
            filled -= taken
            taken = 0
        }
    }

    private func connected() throws -> Int32 {
        let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        guard socket.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw BenchError.usage("\(socket) is too long for a socket")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socket.utf8) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else { throw BenchError.system("\(socket): \(String(cString: strerror(errno)))") }
        return descriptor
    }
}
