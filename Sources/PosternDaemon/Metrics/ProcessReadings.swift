// What a process costs its machine: read from the kernel when somebody asks, never kept.
// What cannot be read is left out. Source: proc_pid_statm(5), proc_pid_fd(5), clock_gettime(2), getrlimit(2).

internal import Glibc
internal import PosternMail

enum ProcessReadings {
    static var all: [CounterReading] {
        var readings = [CounterReading(CounterName("postern_process_cpu_microseconds_total"), cpuMicroseconds)]
        func add(_ name: String, _ value: UInt64?) {
            if let value { readings.append(CounterReading(CounterName(name), value)) }
        }
        add("postern_process_resident_octets", residentOctets)
        add("postern_process_open_fds", count(in: "/proc/self/fd", less: 1))  // less the one that counts them
        add("postern_process_max_fds", maxDescriptors)
        add("postern_process_threads", count(in: "/proc/self/task", less: 0))
        return readings
    }

    /// Of all threads, in user and kernel mode.
    private static var cpuMicroseconds: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)  // cannot fail: the clock is known and the pointer valid
        return UInt64(clamping: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000)
    }

    private static var residentOctets: UInt64? {
        let file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var octets = [UInt8](repeating: 0, count: 128)
        let count = read(file, &octets, octets.count)
        let words = octets.prefix(max(0, count)).split(separator: 0x20)
        guard let pages = words.dropFirst().first.flatMap({ UInt64(String(decoding: $0, as: UTF8.self)) }) else {
            return nil
        }
        return pages * UInt64(clamping: sysconf(Int32(_SC_PAGESIZE)))
    }

    private static var maxDescriptors: UInt64? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return UInt64(limit.rlim_cur)
    }

    private static func count(in path: String, less: UInt64) -> UInt64? {
        guard let folder = opendir(path) else { return nil }
        defer { closedir(folder) }
        var count: UInt64 = 0
        // The kernel gives each process so many at most: RLIMIT_NOFILE, threads-max.
        while let entry = readdir(folder) {
            // Names of descriptors and threads are numbers; `.` and `..` are not.
            if entry.pointee.d_name.0 != 0x2E { count += 1 }
        }
        return count >= less ? count - less : nil
    }
}
