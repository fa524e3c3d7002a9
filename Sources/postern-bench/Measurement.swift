// What a run costs, by the processor's own account: CPU time of this process, since wall time on a shared machine says
// little. Each case is warmed up and run at least 30 times; median and 99th percentile are told.

import Glibc

struct Measurement {
    /// CPU microseconds for one operation, one value a run, ascending.
    let microseconds: [Double]
    /// Octets of one operation; 0 when octets are not what it is about.
    let octets: Int

    static let minRuns = 30

    /// Measures `body`, which does `operations` operations a call.
    static func of(octets: Int = 0, operations: Int = 1, runs: Int = minRuns, _ body: () throws -> Void) rethrows
        -> Measurement
    {
        for _ in 0..<3 { try body() }
        var values: [Double] = []
        for _ in 0..<max(minRuns, runs) {
            let start = cpuNanoseconds()
            try body()
            values.append(Double(cpuNanoseconds() - start) / 1000 / Double(operations))
        }
        return Measurement(microseconds: values.sorted(), octets: octets)
    }

    func percentile(_ share: Double) -> Double {
        microseconds[min(microseconds.count - 1, Int(Double(microseconds.count) * share))]
    }
    var median: Double { percentile(0.5) }

    /// CPU time of this process, all threads. Source: clock_gettime(2).
    static func cpuNanoseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

/// Another process's account, from /proc.
enum ProcessAccount {
    /// User and system CPU time in seconds, of all its threads. Source: proc(5), fields 14 and 15 of stat.
    static func cpuSeconds(_ pid: Int32) -> Double? {
        guard let text = read("/proc/\(pid)/stat"), let close = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: close)...].split(separator: " ")
        guard let user = fields.dropFirst(11).first.flatMap({ Double($0) }),
            let system = fields.dropFirst(12).first.flatMap({ Double($0) })
        else { return nil }
        return (user + system) / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Resident memory in KiB. Source: proc(5), VmRSS of status.
    static func residentKiB(_ pid: Int32) -> Int? {
        guard let text = read("/proc/\(pid)/status") else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        return line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap { Int($0) }
    }

    /// The process and all that descend from it.
    static func tree(_ pid: Int32) -> [Int32] {
        let children = read("/proc/\(pid)/task/\(pid)/children") ?? ""
        return [pid] + children.split(separator: " ").compactMap { Int32($0) }.flatMap(tree)
    }

    private static func read(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var octets = [UInt8](repeating: 0, count: 65_536)
        let count = fread(&octets, 1, octets.count, file)
        return String(decoding: octets.prefix(count), as: UTF8.self)
    }
}
