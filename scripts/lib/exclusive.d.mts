export declare function exclusively<T>(lockFile: string, work: () => T | Promise<T>): Promise<T>;
