// A DNS server that never answers, as a tarpit: questions reach it and nothing comes back. That is another thing than a
// port where nobody listens, which the kernel refuses at once.

import Glibc

public final class SilentServer: Sendable {
    /// Its UDP port on 127.0.0.1.
    public let port: UInt16
    private let descriptor: Int32

    public init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw HarnessError.system("socket") }
        self.descriptor = descriptor
        port = try FreePort.udp()
        var address = LoopbackAddress.make(port: port)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard bound == 0 else { throw HarnessError.system("bind port \(port)") }
    }

    deinit { close(descriptor) }

    /// Whether somebody asked.
    public var wasAsked: Bool {
        var octet: UInt8 = 0
        return recv(descriptor, &octet, 1, Int32(MSG_DONTWAIT) | Int32(MSG_PEEK)) > 0
    }
}
